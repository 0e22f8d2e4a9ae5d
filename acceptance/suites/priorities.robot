*** Settings ***
Documentation       Higher priorities go first; within one priority the oldest job does. Nothing that runs is pushed aside.
...
...                 A priority is a number from -100 to 100, or `low`, `normal`, `high`, `critical`. The queue of this
...                 suite has one slot, so that the order can be seen, and is closed until all jobs stand in it.
Library             hpcq_acceptance
Suite Setup         Start Server    config=[queues.lane]\nrunner = "noop"\nslots = 1\n
Suite Teardown      Stop Server And See That Nothing Is Left
Test Setup          Pause Queue    lane


*** Test Cases ***
The Highest Priority Goes First
    ${low} =         Submit Job    lane    name=low         priority=low
    ${normal} =      Submit Job    lane    name=normal
    ${high} =        Submit Job    lane    name=high        priority=high
    ${critical} =    Submit Job    lane    name=critical    priority=critical
    Resume Queue    lane
    Jobs Should Succeed    ${low}    ${normal}    ${high}    ${critical}
    Starts Should Be In Order    ${critical}    ${high}    ${normal}    ${low}

Within One Priority The Oldest Goes First
    ${jobs} =    Submit Jobs    10    lane    name=number {n}
    Resume Queue    lane
    Jobs Should Succeed    @{jobs}
    Starts Should Be In Order    @{jobs}

A Waiting Job Can Be Put First
    ${first} =    Submit Job    lane    name=first
    ${last} =     Submit Job    lane    name=last
    Edit Job    ${last}    priority=critical
    Resume Queue    lane
    Jobs Should Succeed    ${first}    ${last}
    Starts Should Be In Order    ${last}    ${first}

A Running Job Is Not Pushed Aside
    Resume Queue    lane
    ${runs} =      Submit Job    lane    name=runs    duration_s=0.5    priority=low
    Job Should Be    ${runs}    running
    ${urgent} =    Submit Job    lane    name=urgent    priority=critical
    Explanation Should Be    ${urgent}    slots_busy
    Jobs Should Succeed    ${runs}    ${urgent}
    Attempts Should Be    ${runs}    succeeded
    Job Should Start After    ${urgent}    ${runs}

A Priority Beyond The Scale Is Refused
    Submit Should Be Refused    422    /priority    lane    priority=101
