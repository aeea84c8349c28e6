"""How an extractor learns to see: from the real training images alone, in a bounded number of multiply-adds.

Labels: a classifier, whose penultimate features know what distinguishes the classes. No labels (or a classifier no
better than chance): a denoising autoencoder, whose bottleneck knows what distinguishes the images (Vincent et al. 2008).
Both share the encoder, the optimiser and the loop; they differ in the loss of a batch.
"""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# torch publishes partly unknown types; our own signatures stay strict.

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional

from maestune.data import ImageData, Images, to_float
from maestune.quality.extractor import Extractor, make_extractor
from maestune.quality.networks import Decoder, Encoder, folded, initialised, multiply_adds

BATCH_SIZE = 64
EPOCHS = 25  # small sets: enough to converge
MULTIPLY_ADDS = 6e10  # large sets: what two CPU cores do forward and backward in some 10 seconds
AUTOENCODER_COST = 3.0  # of one image, relative to the classifier: the decoder works at full size
LEAST_SHOWN, MOST_SHOWN = 10_000, 240_000  # images, whatever the two bounds above say
LEARNING_RATE = 1e-2  # at the top of the cycle; batch norm and the short course want it high
WEIGHT_DECAY = 1e-4
LABEL_SMOOTHING = 0.1
DENOISING = 0.1  # standard deviation of the noise that the autoencoder takes away; more would blind it to noise

Loss = Callable[[Tensor, Tensor | None], Tensor]


def fit_extractor(data: ImageData, generator: torch.Generator) -> Extractor:
    """The extractor for a data set: a classifier where labels teach it something, else an autoencoder."""
    classes = class_count(data)
    if classes >= 2:
        classifier = fit_classifier(data, classes, generator)
        chance, margin = _chance(data.search)
        if classifier.accuracy is not None and classifier.accuracy > chance + margin:
            return classifier
        note = f"a classifier got no further than chance ({classifier.accuracy:.0%} against {chance:.0%})"
        return fit_autoencoder(data, generator, note)
    note = "the data has only one class" if data.labelled else "the data has no labels"
    return fit_autoencoder(data, generator, note)


def class_count(data: ImageData) -> int:
    """Number of classes: one more than the largest training label; 0 without labels."""
    labels = data.train.labels
    return 0 if labels is None else max(len(data.class_names), int(labels.max()) + 1)


def fit_classifier(data: ImageData, classes: int, generator: torch.Generator) -> Extractor:
    """A classifier, fitted with smoothed labels to slightly shifted images."""
    encoder = initialised(Encoder, generator, data.shape, classes, normalised=True)

    def loss(batch: Tensor, labels: Tensor | None) -> Tensor:
        assert labels is not None  # a classifier is fitted to labelled data only
        logits = encoder(_shifted(batch, generator))[1]
        return functional.cross_entropy(logits, labels, label_smoothing=LABEL_SMOOTHING)

    _learn([encoder], loss, data.train, multiply_adds(data.shape), generator)
    network = folded(encoder, data.shape, classes)
    accuracy = _accuracy(network, data.search)
    description = f"a classifier trained on {len(data.train):,} training images; it names {accuracy:.1%} of the search images rightly"
    return make_extractor("classifier", network, data.train.images, classes, description, accuracy)


def fit_autoencoder(data: ImageData, generator: torch.Generator, why: str) -> Extractor:
    """A denoising autoencoder; its 64 bottleneck values are the features."""
    encoder = initialised(Encoder, generator, data.shape, 0, normalised=True)
    decoder = initialised(Decoder, generator, data.shape)

    def loss(batch: Tensor, labels: Tensor | None) -> Tensor:
        noise = torch.empty_like(batch).normal_(0.0, DENOISING, generator=generator)
        return functional.mse_loss(decoder(encoder(batch + noise)[0]), batch)

    _learn([encoder, decoder], loss, data.train, AUTOENCODER_COST * multiply_adds(data.shape), generator)
    description = f"a denoising autoencoder trained on {len(data.train):,} training images, because {why}"
    return make_extractor("autoencoder", folded(encoder, data.shape, 0), data.train.images, 0, description)


def _learn(networks: list[nn.Module], loss: Loss, images: Images, cost: float, generator: torch.Generator) -> None:
    """Fit the networks with AdamW on a one-cycle schedule (Smith & Topin 2018), over a bounded number of images.

    The rate ends at 0 at a length known beforehand: time is predictable, and no images are spent on telling when to stop.
    `cost`: multiply-adds of one image.
    """
    affordable = min(MULTIPLY_ADDS / cost, EPOCHS * len(images))
    shown = min(max(affordable, LEAST_SHOWN), MOST_SHOWN)
    batch_size = min(BATCH_SIZE, len(images))
    steps = math.ceil(shown / batch_size)
    parameters = [p for network in networks for p in network.train().parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
    for step, index in enumerate(islice(_batches(len(images), batch_size, generator), steps), start=1):
        for group in optimiser.param_groups:
            group["lr"] = LEARNING_RATE * _one_cycle(step / steps)
        batch = images.take(index)
        optimiser.zero_grad()
        loss(to_float(batch.images), batch.labels).backward()
        optimiser.step()


def _one_cycle(progress: float) -> float:
    """Up over the first tenth, then a half cosine down to 0."""
    return min(progress / 0.1, 0.5 * (1.0 + math.cos(math.pi * max(0.0, progress - 0.1) / 0.9)))


def _batches(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Positions of batch after batch, each epoch in a new order; the rest of an epoch that fills no batch is left out."""
    while True:
        order = torch.randperm(n, generator=generator)
        for start in range(0, n - size + 1, size):
            yield order[start : start + size]


def _shifted(batch: Tensor, generator: torch.Generator) -> Tensor:
    """The batch moved by a few pixels, the border repeated; one move a batch is random enough over many batches."""
    height, width = batch.shape[-2:]
    reach = max(1, min(height, width) // 14)
    top, left = (int(v) for v in torch.randint(0, 2 * reach + 1, (2,), generator=generator))
    padded = functional.pad(batch, (reach, reach, reach, reach), mode="replicate")
    return padded[..., top : top + height, left : left + width]


def _accuracy(network: Encoder, images: Images) -> float:
    """Share of images that the network names rightly."""
    assert images.labels is not None
    right = 0
    with torch.inference_mode():
        for start in range(0, len(images), 512):
            logits = network(to_float(images.images[start : start + 512]))[1]
            right += int((logits.argmax(dim=1) == images.labels[start : start + 512]).sum())
    return right / len(images)


def _chance(images: Images) -> tuple[float, float]:
    """Accuracy of always naming the most frequent class, and two standard errors of an accuracy by luck."""
    assert images.labels is not None
    share = float(torch.bincount(images.labels).max()) / len(images)
    return share, 2.0 * math.sqrt(share * (1.0 - share) / len(images))
