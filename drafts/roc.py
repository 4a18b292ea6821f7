import pickle, numpy as np
out=pickle.load(open("/tmp/hw17/ana.pkl","rb"))
g=lambda n,k: np.array([r.get(k,0) for r in out[n]])
def table(rule):
    return {n: round(100*np.mean([rule(r) for r in rows]),1) for n,rows in out.items()}
base=lambda r,o=6.8,d=.44: r["blank"] or r["snr"]<20 or r["disc"]>d or r["width"]>.27 or r["outline"]>o or r["share"]<.4
for name,rule in {
 "look 8/.45": lambda r: base(r,8,.45), "look 6.8/.44": base, "look 6.4/.42": lambda r: base(r,6.4,.42),
 "look+maha12": lambda r: base(r) or r["maha"]>12.0, "look+energy1.2|maha12": lambda r: base(r) or r["maha"]>12 or r["energy"]<1.2,
 "look + sum": lambda r: base(r) or r["maha"]-3*r["energy"]>8.5,
 "look + sum7.5": lambda r: base(r) or r["maha"]-3*r["energy"]>7.5,
}.items(): print(f"{name:24}",table(rule))
