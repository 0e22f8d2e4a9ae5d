*** Settings ***
Documentation       Every change is told as it happens, in order, without holes, and can be read again from any point.
...
...                 `GET /v1/events` are server-sent events, `GET /v1/stream` is a WebSocket. An event's `seq` is its
...                 place; `since` goes on behind one.
Library             hpcq_acceptance
Suite Setup         Start Server
Suite Teardown      Stop Server And See That Nothing Is Left


*** Test Cases ***
A Job's Life
    ${now} =    Newest Event
    ${job} =    Submit Job    local    command=true
    Events Should Tell    ${job}    job.submitted    job.started    job.succeeded    since=${now}

A Job That Fails, Waits And Passes
    ${now} =    Newest Event
    ${job} =    Submit Job    local    command=[ $HPCQ_ATTEMPT = 2 ]    retries={"max": 1, "backoff_s": 0.05}
    Events Should Tell    ${job}    job.submitted    job.started    job.retrying    job.queued    job.started
    ...    job.succeeded    since=${now}

A Cancelled Job
    ${now} =    Newest Event
    Pause Queue    noop
    ${job} =    Submit Job    noop
    Cancel Job    ${job}
    Events Should Tell    ${job}    job.submitted    job.cancelled    since=${now}
    Resume Queue    noop

Both Streams Tell The Same, Without Holes
    ${before} =    Newest Event
    ${jobs} =    Submit Jobs    100    noop
    Jobs Should Succeed    @{jobs}
    ${after} =    Newest Event
    ${seqs} =    Both Streams Should Tell The Same    ${before}    ${after}
    Length Should Be    ${seqs}    300

What Was Before A Kill Is Still Told After It
    ${job} =    Submit Job    local    command=true
    Job Should Succeed    ${job}
    Kill Server
    Start Server Again
    Events Should Tell    ${job}    job.submitted    job.started    job.succeeded

Output Comes While The Job Runs
    ${job} =    Submit Job    local    command=for i in 1 2 3; do echo line $i; sleep 0.1; done
    Followed Output Should Be    ${job}    line 1\nline 2\nline 3\n
