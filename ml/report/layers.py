"""A picture of the classifier: its real layers from input to output, with their parameter counts."""

from collections.abc import Iterator

import tf_keras
from matplotlib.figure import Figure

from ml.page import BLUE

_INCHES_PER_LAYER = 0.3


def plot_layers(classifier: tf_keras.Model) -> Figure:
    """A bar for each layer that has parameters."""
    layers = list(_layers_with_parameters(classifier))
    names, counts = [layer.name for layer in layers], [layer.count_params() for layer in layers]
    figure = Figure(figsize=(8, 1.2 + _INCHES_PER_LAYER * len(layers)))
    axes = figure.add_subplot()
    bars = axes.barh(range(len(layers)), counts, color=BLUE)
    axes.bar_label(bars, [f"{count:,}" for count in counts], padding=4)
    axes.set_yticks(range(len(layers)), names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.25 * max(counts))
    axes.set_xlabel("parameters")
    axes.set_title(f"{classifier.count_params():,} parameters, from the input (top) to the output")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _layers_with_parameters(model: tf_keras.Model) -> Iterator[tf_keras.layers.Layer]:
    for layer in model.layers:
        if isinstance(layer, tf_keras.Model):
            yield from _layers_with_parameters(layer)
        elif layer.count_params():
            yield layer
