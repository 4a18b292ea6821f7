"""A look inside: what it refuses."""

import pytest
import torch

from mnist_nb import DigitNet
from mnist_nb.interpret import embed, feature_maps, input_gradient, receptive_field
from mnist_nb.support import InputError

IMAGES = torch.zeros(2, 28, 28, dtype=torch.uint8)
LOOKS = {
    "feature maps": lambda model: feature_maps(model, IMAGES),
    "features": lambda model: embed(model, IMAGES),
    "gradient": lambda model: input_gradient(model, torch.zeros(2, 1, 28, 28), torch.tensor([1, 2])),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_network_in_training_mode_is_refused(look):
    "There an answer would depend on the other images, and on chance."
    with pytest.raises(InputError, match=r"call model\.eval\(\) first"):
        look(DigitNet())
    look(DigitNet().eval())


def test_an_unknown_layer_is_refused():
    with pytest.raises(InputError, match=r"'conv8' is unknown: use conv1, .*, conv6"):
        receptive_field(DigitNet(), "conv8", 0, 0)
