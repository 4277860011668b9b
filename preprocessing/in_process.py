"""Beam's options for work in this very process."""

# The last is no wish for such triggers, of which batch work has none. Newer releases' DirectRunner
# first downloads a program, Prism, and works on that; told so, it works in this process as before.
IN_PROCESS = (
    "--runner=DirectRunner",
    "--direct_running_mode=in_memory",
    "--direct_num_workers=1",
    "--allow_unsafe_triggers",
)
