import sys, time
from tests.sim.whole.run import run, plan_of
from tests.sim.whole.faults import EVERYTHING
faults = sys.argv[3] if len(sys.argv)>3 else EVERYTHING
a, b = map(int, sys.argv[1].split(":"))
secs=float(sys.argv[2])
for s in range(a,b):
    t=time.process_time()
    p=plan_of(s, faults, secs)
    r=run(p)
    print(p.members, p.journal_bytes_max, p.tail_entries, p.timers.heartbeat_ms, "%.2fs"%(time.process_time()-t), r if r.sound else "", flush=True)
    for f in r.findings[:6]: print("   ",s, str(f)[:600])
