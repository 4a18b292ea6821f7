import sys, io, numpy as np, torch, time
import hand as pipe
from kinds import filled
from PIL import Image
from mnist_nb.data import load_mnist, hold_out
from mnist_nb.model import load_pretrained, predict_logits, load_weights
from mnist_nb.photographs import *
from mnist_nb.handwriting import grey_page, prepare as old_prepare
from pathlib import Path
dev=Path("/tmp/hw17/dev/model.safetensors")
model = load_weights(dev)[0] if dev.exists() else load_pretrained()
data=load_mnist("mnist"); _, held = hold_out(data.train, 0)
n=int(sys.argv[1]); what=sys.argv[2:]; prep = pipe.prepare
def say(name, pics, lab=None):
    t=time.perf_counter(); seen=torch.stack([prep(a) for a in pics]); t=(time.perf_counter()-t)/len(pics)
    lg=predict_logits(model,seen); sp=lg.std(1); ans=lg.argmax(1)
    blank=~seen.bool().flatten(1).any(1); ref=blank|(sp<1.30)
    out=f"{name:14} n {len(seen)} refused {100*ref.double().mean():.1f}% blank {blank.sum()} {1000*t:.0f} ms"
    if lab is not None:
        lab=torch.as_tensor(lab); ok=(ans==lab); out+=f" right {100*ok.double().mean():.2f}% wrong-not-refused {(~ok&~ref).sum()}"
        bad=torch.nonzero(~ok).flatten().tolist(); out+=f" bad {bad[:12]}"
    print(out,flush=True); return seen
rng=np.random.default_rng(5)
opened=lambda b: np.asarray(Image.open(io.BytesIO(b)))
if "mnist" in what:
    idx=rng.permutation(5000)[:n]; im=held.images[idx]
    base=predict_logits(model,im).argmax(1)==held.labels[idx]; print("clean right", 100*base.double().mean().item())
    say("mnist", [i.numpy() for i in im], held.labels[idx])
if "sk" in what:
    from sklearn.datasets import load_digits
    s=load_digits(); g=(255-s.images*(255/16)).round().astype(np.uint8)
    say("sklearn",list(g[:n]),s.target[:n])
if "photo" in what:
    idx=rng.permutation(5000)[:n]; pairs=[photograph(held.images[j],rng) for j in idx.tolist()]
    say("dark",[opened(p[0]) for p in pairs],held.labels[idx]); say("light",[opened(p[1]) for p in pairs],held.labels[idx])
if "non" in what:
    say("blank",empty_pages(n,rng)); say("noise",noise_pages(n,rng)); say("letters",letters()[0][::max(1,312//n)]); say("scenes",scenes(n,rng)); say("filled",[filled(rng) for _ in range(n)])
