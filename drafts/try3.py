import sys, numpy as np, torch, time
import kinds, hand as pipe
from kinds import *
from mnist_nb.data import load_mnist, hold_out
from mnist_nb.model import load_pretrained, predict_logits, load_weights
from pathlib import Path
model = load_weights(Path("/tmp/hw17/dev/model.safetensors"))[0] if Path("/tmp/hw17/dev/model.safetensors").exists() else load_pretrained()
data=load_mnist("mnist"); _, held = hold_out(data.train, 0)
n=int(sys.argv[1]); names=sys.argv[2:] or list(KINDS)
for name in names:
    rng=np.random.default_rng(7); seen=[]; lab=[]; t=0
    for i in range(n):
        if i%2: d=(i//2)%10; s=by_hand(d,int(rng.integers(10)),rng)
        else: j=int(rng.integers(len(held.labels))); d=int(held.labels[j]); s=skeleton(held.images[j].numpy())
        a=KINDS[name](s,rng); t0=time.perf_counter(); seen.append(pipe.prepare(a)); t+=time.perf_counter()-t0; lab.append(d)
    assert len(seen)==n; seen=torch.stack(seen); lg=predict_logits(model,seen); sp=lg.std(1); ans=lg.argmax(1); lab=torch.tensor(lab)
    blank=~seen.bool().flatten(1).any(1); ref=blank|(sp<1.30)
    ok=(ans==lab)&~ref; wrong=(ans!=lab)&~ref
    print(f"{name:14} right {ok.sum():3} wrong {wrong.sum():3} refused {ref.sum():3} (blank {blank.sum()}, right though refused {((ans==lab)&ref&~blank).sum()})  {1000*t/n:.0f} ms", flush=True)
