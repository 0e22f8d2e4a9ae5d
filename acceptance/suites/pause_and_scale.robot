*** Settings ***
Documentation       A queue can be closed and opened, and given more or fewer slots, while the server runs.
...
...                 What runs goes on to its end. The change is kept over restarts.
Library             hpcq_acceptance
Suite Setup         Start Server    config=[queues.lane]\nrunner = "shell"\nslots = 1\n
Suite Teardown      Stop Server And See That Nothing Is Left
Test Teardown       Leave The Queue As It Was


*** Test Cases ***
A Paused Queue Takes Jobs And Starts None
    Pause Queue    lane
    ${job} =    Submit Job    lane    command=true
    Explanation Should Be    ${job}    paused
    Resume Queue    lane
    Job Should Succeed    ${job}

What Runs Goes On
    ${job} =    Submit Job    lane    command=sleep 0.5
    Job Should Be    ${job}    running
    Pause Queue    lane
    Job Should Succeed    ${job}

More Slots, More At A Time
    ${jobs} =    Submit Jobs    3    lane    command=sleep 600
    Queue Should Have    lane    running    1
    Scale Queue    lane    3
    Queue Should Have    lane    running    3
    FOR    ${job}    IN    @{jobs}
        Cancel Job    ${job}
        Job Should Be    ${job}    cancelled
    END

No Slots, No Starts
    Scale Queue    lane    0
    ${job} =    Submit Job    lane    command=true
    Explanation Should Be    ${job}    no_matching_slot    no slots
    Scale Queue    lane    1
    Job Should Succeed    ${job}

What Was Changed Is Kept Over A Restart
    Scale Queue    lane    2
    Pause Queue    noop
    Stop Server
    Start Server Again
    Queue Should Have Slots    lane    2
    ${job} =    Submit Job    noop
    Explanation Should Be    ${job}    paused
    Resume Queue    noop
    Job Should Succeed    ${job}

And Taken Back To What The Configuration Says
    Scale Queue    lane    2
    Scale Queue    lane    ${None}
    Queue Should Have Slots    lane    1


*** Keywords ***
Leave The Queue As It Was
    Resume Queue    lane
    Scale Queue    lane    ${None}
    Queue Should Have Slots    lane    1
