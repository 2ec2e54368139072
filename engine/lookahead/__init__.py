"""The parts of the look-ahead check: runs that hear every decision, over bars whose future is another.

decisions   what a strategy asked for, when, from which line; the first that two runs do not share
observed    a run that hears decisions, and can be stopped at a moment
veil        a run in which only bars that are over are true in memory, whatever a strategy reaches for
worlds      bars cut at a moment, or with others after it
moments     where to cut
tracing     the line at which two runs of the same code part
"""
