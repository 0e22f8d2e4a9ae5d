*** Settings ***
Documentation       A server that is killed in the middle of its queue loses nothing and leaves nothing.
...
...                 What was accepted is on disk before the answer. This suite gives a server a queue full of work, kills
...                 it (`kill -9`) when some of it is done and some runs, and starts it again. What had ended stays as it
...                 is, what was running is tried again, uncharged, and what waited goes on waiting.
Library             hpcq_acceptance
Suite Setup         Kill A Server In Mid-Queue
Suite Teardown      Stop Server And See That Nothing Is Left


*** Variables ***
${LONG}             echo pid $$; [ $HPCQ_ATTEMPT = 2 ] || sleep 600


*** Test Cases ***
Nothing Is Lost And Nothing Is Done Twice
    Jobs Should Succeed    @{MANY}
    Every Job Should Have Ended Once    @{MANY}
    Every Job Should Have Run Once A Try    ${RUNS}    @{MANY}

What Ran Is Tried Again, Uncharged
    Job Should Succeed    ${RAN}
    Attempts Should Be    ${RAN}    lost    succeeded

Nothing Of It Was Left Alive
    Processes Of Job Should Be Gone    ${RAN}    1    attempt=1

What Waited For It Waited On
    Job Should Succeed    ${CHILD}
    Job Should Start After    ${CHILD}    ${RAN}

What Had Ended Stays As It Was
    Attempts Should Be    ${ENDED}    succeeded
    Output Should Be    ${ENDED}    before the kill\n

Products Are Whole
    Jobs Should Succeed    @{PRODUCTS}
    FOR    ${job}    IN    @{PRODUCTS}
        Product Should Be What Numpy Computes    ${job}
    END

The Same Key Is Still The Same Job
    ${again} =    Submit Job    local    command=echo before the kill    idempotency_key=order-7
    Should Be Equal    ${again}    ${ENDED}

A Polite End
    [Documentation]    SIGTERM: running jobs have some grace, then they are stopped and go back to their queue.
    ${job} =    Submit Job    local    command=${LONG}
    Job Should Be    ${job}    running
    ${status} =    Stop Server
    Should Be Equal As Integers    ${status}    0
    Nothing Should Be Left
    Start Server Again
    Job Should Succeed    ${job}


*** Keywords ***
Kill A Server In Mid-Queue
    Start Server    config=[queues.local]\nslots = 2\n
    ${here} =    Working Folder
    VAR    ${RUNS}    ${here}/runs.txt    scope=SUITE    # every run writes its job's id
    ${ended} =    Submit Job    local    command=echo before the kill    idempotency_key=order-7
    Job Should Succeed    ${ended}
    ${ran} =    Submit Job    local    command=${LONG}
    ${child} =    Submit Job    local    command=true    depends_on=["${ran}"]
    ${many} =    Submit Jobs    20    local    command=echo $HPCQ_JOB_ID >> '${RUNS}'; sleep 0.1
    ${products} =    Submit Jobs    8    compute    operation=matmul    size=128    seed=5
    Job Should Be    ${ran}    running
    Queue Should Have    local    succeeded    5    at_least=${True}
    Kill Server
    Start Server Again
    VAR    ${ENDED}    ${ended}    scope=SUITE
    VAR    ${RAN}    ${ran}    scope=SUITE
    VAR    ${CHILD}    ${child}    scope=SUITE
    VAR    @{MANY}    @{many}    scope=SUITE
    VAR    @{PRODUCTS}    @{products}    scope=SUITE
