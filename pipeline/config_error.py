"""What is raised where a config cannot be used."""


class ConfigError(ValueError):
    """A config that cannot be used; the message says where, what was found and what to do."""
