"""What a sweep will take, before it starts; what runs have taken, afterwards.

work       a configuration as parts, each with what its time depends on
lives      when the processes of a run began and ended
recorded   what the parts took in recorded runs
estimate   seconds of a run from those; of many runs, some at once
plan       all of a sweep: hours, dollars
calibrate  a few steps of a run that none is like
budget     limits that refuse a plan
ledger     what each phase of the experiment plan has used
report     a plan for a person to read
"""
