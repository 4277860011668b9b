"""PointNet for part segmentation: from a cloud's points to each point's part.

layers.py          pointwise layer, T-Net                                       (keras.ops only)
batch_norm.py      batch norm and ReLU with the moments taken from the layer's input
pooled_layer.py    a pointwise layer and the maximum over points, with their own gradient
row_sums.py        sums picked rows: the pooled layer's gradient
folding.py         batch norm folded into the weights, for inference
network.py         [B, N, 3] -> logits [B, N, K], any N                         (keras.ops only)
loss.py            cross-entropy over annotated points, orthogonality per cloud (keras.ops only)
metrics.py         confusion counts -> accuracy, IoU, instance mIoU             (NumPy only)
bootstrap.py       how sure these are: the scores of resampled sets of clouds    (NumPy only)
input_pipeline.py  Transform's Examples -> fresh draws and augmentation each epoch
training.py        the training loop: schedule, steps, what is kept by validation instance mIoU
training_state.py  checkpoints from which a stopped training goes on
training_error.py  what stops a training, in a sentence
devices.py         CPU, GPUs or several workers; the compute type
workers.py         what several workers need of each other: one start, one end, an error if lost
curves.py          curves.csv, TensorBoard's events
curves_picture.py  ... drawn; the report shows the same picture
chart_frame.py     what all charts on our pages have in common
signatures.py      what the exported SavedModel offers
request_checks.py  ... and what it refuses
warm_up.py         requests that a server answers before the first real one
trained_network.py the network as trained, beside the SavedModel
run_arguments.py   what TFX hands to the two functions below
search_space.py    what the Tuner may change of the config
tuner.py           `tuner_fn`: what TFX's Tuner calls; short trainings, the best recipe
trainer.py         `run_fn`: what TFX's Trainer calls
settings.py        this room's part of the config
"""
