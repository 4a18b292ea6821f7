"score the kinds: python drafts/score.py COUNT WEIGHTS, pictures of fold 0 and of ten hands"
import sys
import time

import numpy as np
import torch

from mnist_nb.data import hold_out, load_mnist
from mnist_nb.handwriting import prepare
from mnist_nb.model import load_weights, predict_logits
from mnist_nb.photographs import TROUBLES, by_hand, path_of

count, model = int(sys.argv[1]), load_weights(sys.argv[2])[0]
held = hold_out(load_mnist("mnist").train, 0)[1]
for kind in TROUBLES:
    rng, seen, labels, seconds = np.random.default_rng(7), [], [], 0.0
    for i in range(count):
        j, digit = int(rng.integers(len(held.labels))), i // 2 % 10
        strokes = by_hand(digit, int(rng.integers(10)), rng) if i % 2 else path_of(held.images[j])
        labels.append(digit if i % 2 else int(held.labels[j]))
        picture, start = kind(strokes, rng), time.perf_counter()
        seen.append(prepare(picture))
        seconds += time.perf_counter() - start
    logits = predict_logits(model, torch.stack(seen))
    right, sure = logits.argmax(1) == torch.tensor(labels), logits.std(1) > 1.30
    print(f"{kind.__name__:16} right {(right & sure).sum():3} wrong {(~right & sure).sum():3} refused {(~sure).sum():3}, {1000 * seconds / count:.0f} ms", flush=True)
