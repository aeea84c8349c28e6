"""Every hyperparameter in a sentence: what it does, and what to expect of more and less of it, or of each choice."""

from __future__ import annotations

from collections.abc import Mapping

_GAME: Mapping[str, str] = {
    "loss": "The game that the two networks play: ns (cross-entropy; the original game, not saturating), hinge (the discriminator "
    "learns from scores within a margin alone), ls (squared errors), wgan (the difference of mean scores, which needs a "
    "penalty or clipped weights), relativistic (each real image against the made one beside it) or relativistic_average (each "
    "image against the mean score of the other kind).",
    "margin": "Score up to which the hinge loss pushes real images up, and made ones down to its negative: with a larger one the "
    "discriminator goes on learning from images that it tells apart already.",
    "d_steps": "How many updates the discriminator makes for each of the generator: more make it a better critic, and leave the "
    "generator fewer updates in as many steps.",
    "gan.lr": "How far the generator's weights move at each step (the discriminator's by lr_ratio): too low and the training "
    "does not get anywhere in its time, too high and the game becomes unsteady or collapses.",
    "lr_ratio": "The discriminator's learning rate relative to the generator's (two time scales): higher makes it learn "
    "faster and may let it win too soon, lower holds it back.",
    "gan.beta1": "Adam's memory of past gradients: higher makes steps smoother and slower to turn, lower follows a game in which "
    "what is right for one network changes as the other moves.",
    "gan.batch_size": "How many real images, and as many made ones, are shown at each step: more give gradients with less "
    "noise and see more of the variety at once, fewer make steps cheaper.",
    "gan.latent_dim": "How many random numbers a sample is made from: more leave room for more variety, too few limit it.",
    "norm_g": "How the generator's layers are normalised: none, batch (each channel over the batch, as in DCGAN), instance (each "
    "channel of each image alone) or layer (all channels of each image); norms allow higher rates, and batch norm lets the images "
    "of a batch depend on each other.",
    "norm_d": "How the discriminator's layers are normalised: none, batch (each channel over the batch), instance (each channel of "
    "each image alone), layer (all channels of each image) or spectral (weights divided by their largest singular value, which "
    "bounds how steeply scores change and allows higher rates).",
    "activation_g": "What stands behind the generator's layers: relu (0 below 0), leaky_relu (a fifth of the slope below 0) or silu "
    "(smooth, a little below 0).",
    "activation_d": "What stands behind the discriminator's layers: relu (0 below 0), leaky_relu (a fifth of the slope below 0, so "
    "that gradients reach the generator everywhere) or silu (smooth).",
    "attention": "Whether both networks have self-attention at their coarsest map of at least 8 pixels: none, or self, by which each "
    "place sees all others, for shapes that must agree over a distance, at the price of slower steps.",
    "minibatch_std": "Whether the discriminator is told how much images differ from those beside them: none, or on, by which it "
    "notices samples that are all alike.",
    "condition": "How labels enter both networks, so that samples can be asked for by them: none (not at all), concat (learnt numbers "
    "beside latents and image) or projection (beside the latents, and a direction for each label in the discriminator's last "
    "features).",
    "penalty": "What keeps the discriminator from becoming too steep: none, r1 (its gradient at real images is drawn to 0), r2 (at "
    "made ones), r1r2 (at both), gp (the gradient's norm is drawn to 1 between real and made images, as in WGAN-GP) or dragan (to 1 "
    "around real images); all but none make steps dearer.",
    "r1_gamma": "Weight of the penalties r1, r2 and r1r2: higher holds the discriminator back more, lower lets it learn faster and "
    "perhaps win; what is right grows with the number of pixels and falls with the batch size.",
    "gp_lambda": "Weight of the penalties gp and dragan: higher holds the norm of the discriminator's gradient closer to 1, lower "
    "leaves it freer.",
    "penalty_every": "After how many of the discriminator's updates the penalty is taken again, so many times heavier: a higher "
    "number saves time and makes its pull coarser.",
    "weight_clip": "Size to which the discriminator's weights are clipped after each update (WGAN): smaller keeps scores flatter and "
    "the generator's gradients weaker, larger bounds less.",
    "dropout_d": "Share of the discriminator's features that is set to 0 at random: higher keeps it from learning images by heart and "
    "makes it a noisier critic.",
    "instance_noise": "Standard deviation, at the beginning, of noise that is added to all images the discriminator sees and falls to 0 "
    "over the training: more keeps it from winning early and hides fine detail from it.",
    "label_smoothing": "How far below 1 the discriminator's target for real images lies: higher makes it less sure of itself.",
    "label_smoothing_fake": "How far above 0 the discriminator's target for made images lies: higher makes it less sure of itself, but "
    "gives poor samples less reason to move, so that it is mostly left out.",
    "augment": "How all images that the discriminator sees, real and made, are changed at random: none, translation (shifted by up to "
    "an eighth of the side), translation+cutout (with a square hole as well) or colour+translation+cutout (and brightness, saturation "
    "and contrast); more helps where images are few and does harm where they are many.",
    "consistency": "Of which images the discriminator's score is kept from changing when they are shifted: none, real, or both (real "
    "and made).",
    "cr_real": "Weight of the consistency of real images' scores: higher makes the discriminator look less at where things are.",
    "cr_fake": "Weight of the consistency of made images' scores: higher makes the discriminator look less at where things are.",
    "truncation": "What latents are multiplied by when samples are drawn: lower keeps them nearer to the middle, where samples are more "
    "believable and more alike; 1 leaves them as they are.",
}

_VAE: Mapping[str, str] = {
    "likelihood": "How pixels are believed to scatter around what the decoder tells: bernoulli (as black and white, with grey as a "
    "probability), gaussian (with a spread that is learnt) or logistic (over the 256 levels of a pixel, with a spread that is "
    "learnt).",
    "beta": "Weight of the KL, which is what latents cost, beside the reconstruction: higher makes latents simpler, so that samples "
    "from the prior fit better, and pictures blurrier; lower makes reconstructions sharper; 1 is the bound on the likelihood itself.",
    "kl_schedule": "How the KL's weight comes to beta: constant (at once), linear (it rises from 0 and stays) or cyclical (it rises from "
    "0 again and again); rising weights let latents be used before they cost.",
    "kl_warmup": "Share of the training, or of each cycle, over which the KL's weight rises from 0: longer leaves more time to fill "
    "latents, and less to bring them into the shape of the prior.",
    "kl_cycles": "How many times the KL's weight rises from 0 over the training: more give unused latents more chances, each a shorter one.",
    "free_bits": "Information that each latent may carry without a cost, in nats on a batch's average: higher keeps latents from being "
    "left unused, and takes them further from the prior that samples are drawn from.",
    "vae.latent_dim": "How many numbers an image is encoded in: more can hold more detail, and the KL leaves unused those that do not "
    "pay; too few make everything blurry.",
    "vae.norm": "How hidden layers are normalised: none, or layer (all channels of each image together), which allows higher rates and "
    "deeper networks.",
    "vae.activation": "What stands behind hidden layers: relu (0 below 0), silu and gelu (smooth, a little below 0), leaky_relu (a fifth "
    "of the slope below 0) or tanh (between -1 and 1).",
    "vae.temperature": "Spread of the latents that samples are drawn from, relative to the prior's: lower keeps to the most typical "
    "images, higher gives more variety and more faults.",
}

_LM: Mapping[str, str] = {
    "lm.width": "Numbers that stand for each token inside the network: more can hold more, and parameters and time grow with their "
    "square.",
    "layers": "Blocks of the network, each attention and a feedforward layer: more can combine what was read in more steps, and cost "
    "time in proportion.",
    "lm.heads": "Parts into which attention is divided, each looking for something else: more look for more things with fewer channels "
    "each; the number of parameters stays.",
    "context": "How many tokens the network sees at once: more let it use what stands further back, and cost memory and time.",
    "positions": "How the network knows where a token stands: learned (a vector for each place) or rotary (queries and keys turned by "
    "an angle that grows with the place, so that distances count).",
    "lm.activation": "What stands inside the feedforward layers: gelu and silu (smooth), relu (0 below 0), relu2 (its square) or swiglu "
    "(silu of one part as a gate of another, with as many parameters).",
    "lm.norm": "How what enters a layer is normalised: layer (mean taken away, divided by the spread) or rms (divided by the root of "
    "the mean square alone, a little cheaper).",
    "qk_norm": "Whether queries and keys are normalised before they meet: none, or rms, which keeps attention logits from growing "
    "until the training diverges and so allows higher rates.",
    "head": "What turns the last features into tokens: tied (the embedding itself, fewer parameters) or untied (a matrix of its own).",
    "init": "Standard deviation of fresh weights (those that add to the stream between blocks have less, by the root of their number): "
    "larger starts with stronger signals and less steadily, smaller begins more slowly.",
    "lm.batch_size": "How many windows of text are learnt from at each step: more give gradients with less noise and use more "
    "of the text in as many steps, fewer make steps cheaper.",
    "lm.label_smoothing": "Share of the target that is spread over all tokens instead of the one that came: higher keeps the network "
    "from being too sure, and makes its probabilities, which bits per character measure, a little worse.",
    "lm.temperature": "What logits are divided by before a token is drawn: lower keeps to the likeliest tokens and repeats itself "
    "sooner, higher gives more variety and more mistakes; 1 draws as the network says.",
    "top_k": "A token is drawn among so many likeliest ones alone: fewer are safer and duller; 0 is all.",
    "top_p": "A token is drawn among the likeliest ones that together have this probability: lower is safer and duller; 1 is all.",
    "min_p": "A token is drawn among those that have at least this share of the likeliest one's probability: higher is safer and "
    "duller; 0 is all.",
    "typical_p": "A token is drawn among those whose surprise is nearest to the expected one and that together have this probability: "
    "lower keeps to the most typical; 1 is all.",
    "repetition_penalty": "By how much tokens that the text has already are made less likely: higher avoids repetitions, too high also "
    "what must be repeated; 1 is none.",
}

_FLOW: Mapping[str, str] = {
    "patch": "Side of the squares that a dit reads as one token each: smaller sees finer detail, and its number of tokens, with it "
    "time, grows fast.",
    "flow.width": "Channels of the network (of each token in a dit, at full size in a unet, which has twice as many below): more can do "
    "more, and parameters and time grow with their square.",
    "flow.depth": "How deep the network is (blocks of a dit, residual blocks at each size of a unet): more can do more and takes "
    "longer, in training and for every sample.",
    "flow.heads": "Parts into which attention is divided, each looking for something else: more look for more things with fewer "
    "channels each; the number of parameters stays.",
    "text_width": "Channels of the encoder that reads captions: more can tell more words and phrases apart, and cost little beside the "
    "images.",
    "text_depth": "Blocks of the encoder that reads captions: with 0 a caption is the mean of its words, more take their order and "
    "company into account.",
    "caption_use": "How images learn of a caption: pooled (one vector for the whole) or attended (places of the image also look at each "
    "word, which is dearer and helps where words describe different parts).",
    "time_sampling": "Which times between noise (0) and image (1) are trained on: uniform (all alike) or logit_normal (more of those in "
    "between, which are the hardest).",
    "time_mean": "Where logit-normal times have their middle, as a logit: above 0 they are nearer to the image and train detail, below "
    "0 nearer to noise and train the layout.",
    "condition_dropout": "Share of the images that are learnt without what they were labelled or captioned with, which guidance needs: "
    "higher trains that part better, and what is asked for less.",
    "guidance": "How strongly samples are drawn to what is asked for: 1 is the condition alone, higher shows it more clearly with less "
    "variety, far too high distorts.",
    "solver": "How the way from noise to image is followed: euler (one look at the velocity a step), midpoint (a second half-way, which "
    "counts) or heun (a second at the end, and the mean of both); the latter two take twice as long a step and are far more exact.",
    "solver_steps": "Steps from noise to image when samples are drawn: more are more exact and take longer, with less to gain each time.",
}

_TRAINING: Mapping[str, str] = {
    "network": "Kind of networks, which follows from the size of the images where nobody chooses it, and is not searched: mlp (dense "
    "layers, for small images) or conv (convolutions, for larger ones).",
    "flow.network": "Kind of network, which follows from the size of the images where nobody chooses it, and is not searched: dit (a "
    "transformer over patches, for small images) or unet (convolutions at several sizes, for larger ones).",
    "width": "Size of the layers (units of dense ones; of convolutions the channels next to the image, which double with each halving "
    "of the side): more can do more, and parameters and time grow with its square.",
    "depth": "Hidden layers of each network (of convolutions: how many at each size): more can do more, take longer and are harder to "
    "train.",
    "optimizer": "How gradients become steps: adam (a running mean of gradients, scaled for each weight by their recent size), "
    "rmsprop (scaled likewise, without the mean) or sgd (as they are, which needs other rates).",
    "lr": "How far weights move at each step: too low and the training does not get anywhere in its time, too high and it becomes "
    "unsteady or diverges.",
    "beta1": "Adam's memory of past gradients: higher makes steps smoother and slower to turn, lower noisier and quicker.",
    "beta2": "Adam's memory of the size of gradients, by which it scales steps: nearer to 1 is steadier, lower adapts sooner where "
    "gradients change in size.",
    "momentum": "How much of its last step the optimiser carries into the next: higher evens out noise and moves faster where gradients "
    "agree, too high overshoots; 0 is none.",
    "batch_size": "How many images are learnt from at each step: more give gradients with less noise and allow higher rates, "
    "fewer make steps cheaper.",
    "weight_decay": "How strongly matrices and kernels are drawn to 0, in proportion to their size: higher keeps the network from "
    "learning the data by heart, too high keeps it from learning.",
    "l1": "How strongly matrices and kernels are drawn to 0, all by the same amount, so that some become exactly 0: higher leaves "
    "fewer weights in use, too high none.",
    "clip": "Norm to which longer gradients are shortened: lower softens sudden jumps, and where it acts at every step the gradient's "
    "length no longer counts; 0 leaves gradients as they are.",
    "schedule": "How the learning rate changes: constant, wsd (constant, then straight down at the end), cosine (down along half a "
    "wave), step (down in a few drops) or cyclical (up and down again and again); rates that fall let the weights settle.",
    "warmup": "Share of the training over which the rate first rises from 0: longer protects fresh weights from steps too large for "
    "them, and leaves less time at the full rate; 0 begins with it.",
    "decay": "Share of the training, at its end, over which the schedule wsd lets the rate fall: longer settles more and leaves "
    "less time at the full rate.",
    "lr_floor": "Share of its peak that the rate falls to: 0 lets the weights settle most, higher goes on learning to the end.",
    "step_factor": "What the rate is multiplied by at each drop of the schedule step: smaller drops further.",
    "step_count": "How many drops the schedule step has, at equal distances: more end at a lower rate.",
    "cycles": "How many times the cyclical schedule goes up and down: more change sooner between moving on and settling.",
    "ema": "Decay a step of a moving average of the weights, which is then what samples are drawn from: nearer to 1 averages over more "
    "steps, smoother and later to follow; 0 takes the weights as they are.",
    "keep": "Which weights are a full training's result: last (those at its end) or best (those with the best score of all looks at "
    "it, for trainings that get worse again).",
    "patience": "After how many validations in a row without a better score a full training ends early: fewer save time and may miss a late "
    "gain; 0 never does.",
    "dropout": "Share of features that is set to 0 at random while training: higher keeps the network from learning few data by heart, "
    "and slows it down where they are many.",
}

PARAMETERS: Mapping[str, str] = {**_GAME, **_VAE, **_LM, **_FLOW, **_TRAINING}
"""A sentence for every parameter of every family, by name; by "family.name" where a name means something else there."""


def describe(name: str, family: str = "") -> str:
    """What a parameter of a family does, in a sentence; "" where it is none of ours (a user's own).

    >>> describe("beta1", "gan") == describe("beta1", "vae")
    False
    >>> describe("patience", "lm") == describe("patience")
    True
    """
    return PARAMETERS.get(f"{family}.{name}", PARAMETERS.get(name, ""))
