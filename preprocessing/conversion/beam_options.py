"""Beam's options for the work of this project that runs in its own process."""

# The last keeps newer Beam releases from switching to Prism, which they download; our batch jobs
# have no triggers.
IN_PROCESS = (
    "--runner=DirectRunner",
    "--direct_running_mode=in_memory",
    "--direct_num_workers=1",
    "--allow_unsafe_triggers",
)
