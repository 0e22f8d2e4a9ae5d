*** Settings ***
Documentation       A job that is not final can be cancelled: a waiting one at once, a running one with all its processes.
Library             hpcq_acceptance
Suite Setup         Start Server    config=[queues.local]\nslots = 1\ngrace_s = 0.3\n
Suite Teardown      Stop Server And See That Nothing Is Left


*** Test Cases ***
A Waiting Job Never Runs
    Pause Queue    local
    ${job} =    Submit Job    local    command=echo no
    ${state} =    Cancel Job    ${job}
    Should Be Equal    ${state}    cancelled
    Attempts Should Be    ${job}
    [Teardown]    Resume Queue    local

A Running Job Ends With All Its Processes
    ${job} =    Submit Job    local    command=echo pid $$; setsid sh -c 'echo pid $$; sleep 600' & sleep 601
    Job Should Be    ${job}    running
    ${state} =    Cancel Job    ${job}
    Should Be Equal    ${state}    cancelling
    Job Should Be    ${job}    cancelled
    Attempts Should Be    ${job}    cancelled

One That Ignores SIGTERM Is Killed
    ${job} =    Submit Job    local    command=trap '' TERM; echo pid $$; while true; do sleep 0.05; done
    Job Should Have Printed    ${job}    pid
    Cancel Job    ${job}
    Job Should Be    ${job}    cancelled
    Processes Of Job Should Be Gone    ${job}    1

Those That Depend On It Fail
    Pause Queue    local
    ${job} =    Submit Job    local    command=true
    ${child} =    Submit Job    local    command=true    depends_on=["${job}"]
    Cancel Job    ${job}
    Job Should Fail    ${child}    dependency
    [Teardown]    Resume Queue    local

What Is Over Stays As It Is
    ${job} =    Submit Job    local    command=true
    Job Should Succeed    ${job}
    Cancelling Should Be Refused    ${job}
    Job Should Be    ${job}    succeeded

All That Carry A Tag
    ${jobs} =    Submit Jobs    5    noop    duration_s=600    tags={"study": "wrong"}
    ${other} =    Submit Job    noop    duration_s=0.3    tags={"study": "right"}
    Run Hpcq    cancel    --tag    study=wrong
    FOR    ${job}    IN    @{jobs}
        Job Should Be    ${job}    cancelled
    END
    Job Should Succeed    ${other}
