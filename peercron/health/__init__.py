"""Health: probes of processes, services and endpoints, made again and again on the loop, which none of them holds up.

House rules:
1. A probe never raises and never takes longer than its time-out: whatever goes wrong is a bad result with a sentence.
2. What may block (files, the process table) is done in a thread; commands run in a session of their own, which is
   killed as a whole when the time is up.
3. Rise and fall are counted here, where the results are; only a verdict that changed is told to anybody.
"""
