"""Contact sheet, timing and determinism of second.py."""
import io, sys, time, hashlib
sys.dont_write_bytecode = True
import numpy as np
from PIL import Image
import second
def arc(cx, cy, rx, ry, a, b, n=40):
    t = np.radians(np.linspace(a, b, n)); return np.stack([cx + rx*np.cos(t), cy + ry*np.sin(t)], 1)
P = lambda *p: np.array(p, float)
D = {0: [arc(.5,.5,.33,.5,-80,285)], 1: [P((.32,.22),(.52,0),(.5,1))],
 2: [np.concatenate([arc(.5,.27,.3,.27,-170,40), P((.2,1),(.85,.97))])],
 3: [np.concatenate([arc(.46,.25,.28,.25,-150,85), arc(.46,.74,.34,.26,-85,150)])],
 4: [P((.55,0),(.12,.62),(.9,.62)), P((.68,.35),(.64,1))],
 5: [np.concatenate([P((.28,0),(.24,.45)), arc(.46,.69,.34,.31,-130,140)]), P((.28,.02),(.8,0))],
 6: [np.concatenate([P((.68,0),(.5,.12),(.36,.3),(.26,.5),(.22,.68)), arc(.5,.71,.28,.29,180,-185)])],
 7: [P((.15,.05),(.85,.02),(.42,1)), P((.3,.5),(.75,.48))],
 8: [np.concatenate([arc(.5,.25,.25,.25,-40,-270), arc(.5,.75,.3,.25,-90,270), arc(.5,.25,.25,.25,90,-40)])],
 9: [np.concatenate([arc(.48,.28,.27,.28,-20,-360), P((.74,.5),(.66,1))])]}
if __name__ == "__main__":
    n, seed = int(sys.argv[1]), int(sys.argv[2]); out = sys.argv[3]
    cells, times = [], []; cpu = time.process_time()
    for k in range(n):
        rng = np.random.default_rng([seed, k]); t = time.perf_counter()
        data = second.snapshot(D[k % 10], rng); times.append(time.perf_counter() - t)
        im = Image.open(io.BytesIO(data)); 
        if n < 5: im.save(f"{out}_{k}.png")
        im.thumbnail((310, 310), Image.LANCZOS)
        c = Image.new("RGB", (320, 320), (255, 0, 255)); c.paste(im, ((320-im.width)//2, (320-im.height)//2)); cells.append(c)
    print('cpu per picture %.3f' % ((time.process_time()-cpu)/n)); cols = min(8, n); sheet = Image.new("RGB", (320*cols, 320*-(-n//cols)))
    for k, c in enumerate(cells): sheet.paste(c, (320*(k % cols), 320*(k//cols)))
    sheet.save(out); print("mean %.3f max %.3f median %.3f" % (np.mean(times), max(times), np.median(times)))
    h = [hashlib.sha1(second.snapshot(D[3], np.random.default_rng(5))).hexdigest() for _ in range(2)]; print(h[0] == h[1], h[0])
