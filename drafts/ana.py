import numpy as np, torch, pickle, pipe
from scipy import ndimage
from mnist_nb.data import load_mnist, hold_out
from mnist_nb.model import predict_logits, load_weights
from pathlib import Path
model = load_weights(Path("/tmp/hw17/dev/model.safetensors"))[0].eval()
data=load_mnist("mnist"); rest, held = hold_out(data.train, 0)
def deep(images):
    with torch.no_grad():
        return torch.cat([model.features(part[:,None].float().div(255)).flatten(1) for part in images.split(1000)]).double()
F=deep(rest.images); means=torch.stack([F[rest.labels==c].mean(0) for c in range(10)])
D=F-means[rest.labels]; inv=torch.linalg.inv(D.T@D/len(D)+1e-6*torch.eye(32,dtype=torch.float64))
def maha(images):
    d=deep(images)[:,None]-means[None]; return torch.einsum("nci,ij,ncj->nc",d,inv,d).min(1).values.sqrt()
h=deep(held.images); lg=predict_logits(model,held.images).double()
print("held: maha q", torch.quantile(maha(held.images),torch.tensor([.5,.95,.99,.995,.9975],dtype=torch.float64)).numpy().round(2), "spread q", torch.quantile(lg.std(1),torch.tensor([.0025,.005,.01,.5],dtype=torch.float64)).numpy().round(3))
sets,labels=pickle.load(open("sets.pkl","rb"))
out={}
for name,pics in sets.items():
    rows=[]
    for i,a in enumerate(pics):
        tr={}; seen=pipe.prepare(a,tr); k=tr.get("kept"); r=dict(blank=not seen.any(), snr=float(tr["top"]/max(tr["noise"],1e-4)))
        r["seen"]=seen
        if k is not None and k.any():
            y,x=np.nonzero(k); size=max(np.ptp(y),np.ptp(x))+1
            r.update(width=tr.get("width",9), disc=2*ndimage.distance_transform_edt(np.pad(k,1)).max()/size, share=(tr["depth"]*k).sum()/max((tr["depth"]*tr["mask"]).sum(),1e-9), outline=(k.sum()-ndimage.binary_erosion(k).sum())/size, extent=size/max(k.shape), pieces=len(tr["info"]), length=k.sum()/max(tr.get("width",1)*size,1)/size)
        rows.append(r)
    seen=torch.stack([r.pop("seen") for r in rows]); l=predict_logits(model,seen).double(); m=maha(seen)
    for i,r in enumerate(rows): r.update(spread=float(l[i].std()), energy=float(l[i].logsumexp(0)), maha=float(m[i]), right=(int(l[i].argmax())==labels[name][i]) if name in labels else None)
    out[name]=rows
pickle.dump(out,open("ana.pkl","wb"))
