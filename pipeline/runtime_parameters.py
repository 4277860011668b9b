"""What a run of a compiled pipeline may set: the parameters' names there."""

DATA_ROOT, TRAIN_ARGS, EVAL_CONFIG = "data_root", "train_args", "eval_config"
