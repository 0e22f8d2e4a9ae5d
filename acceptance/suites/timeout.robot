*** Settings ***
Documentation       A job that runs longer than its time limit is killed, with all that it has started.
...
...                 `timeout_s` is the limit of one attempt; its clock begins when the attempt runs, not while it waits.
...                 SIGTERM first, SIGKILL after the queue's `grace_s`.
Library             hpcq_acceptance
Suite Setup         Start Server    config=[queues.local]\nslots = 1\ngrace_s = 0.3\n
Suite Teardown      Stop Server And See That Nothing Is Left


*** Test Cases ***
Too Long
    ${job} =    Submit Job    local    command=sleep 600    timeout_s=0.3
    Job Should Fail    ${job}    timeout
    Attempts Should Be    ${job}    timeout

A Stubborn Tree
    [Documentation]    It ignores SIGTERM, and one of its processes is in a session of its own.
    ${tree} =    Catenate    trap '' TERM; echo pid $$;
    ...    setsid sh -c 'trap "" TERM; echo pid $$; sleep 600' & sleep 601; sleep 602
    ${job} =    Submit Job    local    command=${tree}    timeout_s=0.5
    Job Should Fail    ${job}    timeout
    Processes Of Job Should Be Gone    ${job}    2

Time To Put Things Away
    [Documentation]    What it prints after SIGTERM is kept.
    ${tidy} =    Set Variable    trap 'echo tidy; exit' TERM; echo begun; sleep 600 & wait
    ${job} =    Submit Job    local    command=${tidy}    timeout_s=0.3
    Job Should Fail    ${job}    timeout
    Output Should Be    ${job}    begun\ntidy\n

A Timeout Counts As A Failed Try
    ${job} =    Submit Job    local    command=[ $HPCQ_ATTEMPT = 2 ] || sleep 600    timeout_s=0.3
    ...    retries={"max": 1, "backoff_s": 0.01}
    Job Should Succeed    ${job}
    Attempts Should Be    ${job}    timeout    succeeded

Waiting Is Not Running
    ${before} =    Submit Job    local    command=sleep 0.8
    ${job} =    Submit Job    local    command=true    timeout_s=0.5
    Jobs Should Succeed    ${before}    ${job}
