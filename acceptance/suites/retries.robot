*** Settings ***
Documentation       A failed job is tried again, as often as it says, after a pause that grows.
...
...                 `retries` has `max`, `backoff_s`, `factor`, `max_backoff_s` and `jitter`. Every try is kept. What
...                 will fail again for sure (`rejected`) is not tried again.
Library             hpcq_acceptance
Suite Setup         Start Server
Suite Teardown      Stop Server And See That Nothing Is Left


*** Variables ***
${TWICE}            {"max": 2, "backoff_s": 0.05}
${FIXED}            {"max": 1, "backoff_s": 60, "jitter": false}


*** Test Cases ***
Fails Twice, Then Passes
    ${job} =    Submit Job    local    command=echo try $HPCQ_ATTEMPT; [ $HPCQ_ATTEMPT = 3 ]    retries=${TWICE}
    Job Should Succeed    ${job}
    Attempts Should Be    ${job}    exit    exit    succeeded
    Output Should Be    ${job}    try 3\n

Fails As Often As It May
    ${job} =    Submit Job    local    command=exit 7    retries=${TWICE}
    ${found} =    Job Should Fail    ${job}    exit    7
    Should Be Equal As Integers    ${found}[error][exit_code]    7
    Attempts Should Be    ${job}    exit    exit    exit

Without Retries There Is One Try
    ${job} =    Submit Job    local    command=false
    Job Should Fail    ${job}    exit
    Attempts Should Be    ${job}    exit

A Killed Command Is Tried Again Too
    ${job} =    Submit Job    local    command=[ $HPCQ_ATTEMPT = 2 ] || kill -9 $$    retries=${TWICE}
    Job Should Succeed    ${job}
    Attempts Should Be    ${job}    signal    succeeded

Between Two Tries It Says Why It Waits
    ${job} =    Submit Job    local    command=false    retries=${FIXED}
    Job Should Be    ${job}    delayed
    Explanation Should Be    ${job}    backoff
    Cancel Job    ${job}
    Job Should Be    ${job}    cancelled

A Person Can Try A Final Job Again
    [Documentation]    The same id, fresh retries; the numbers of attempts go on.
    ${job} =    Submit Job    local    command=[ $HPCQ_ATTEMPT = 2 ]
    Job Should Fail    ${job}    exit
    Retry Job    ${job}
    Job Should Succeed    ${job}
    Attempts Should Be    ${job}    exit    succeeded

A Checkpoint Outlives An Attempt
    [Documentation]    `$HPCQ_JOB_DIR` is kept over attempts.
    ${go_on} =    Catenate    if [ -e $HPCQ_JOB_DIR/half ]; then echo other half;
    ...    else touch $HPCQ_JOB_DIR/half; exit 1; fi
    ${job} =    Submit Job    local    command=${go_on}    retries=${TWICE}
    Job Should Succeed    ${job}
    Output Should Be    ${job}    other half\n
