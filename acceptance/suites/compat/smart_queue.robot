*** Settings ***
Documentation       Clients of the priority and dependency queue: `/jobs/`, logs, cancel, and the stream of changes.
Library             hpcq_acceptance
Library             fronts.Fronts
Suite Setup         Start Server To Talk To
Suite Teardown      Stop Server And See That Nothing Is Left


*** Test Cases ***
A Whole Job
    ${job} =    Post    /jobs/    answers_with=201    type=data_export    priority=high
    ...    payload={"duration_seconds": 0.1, "table": "users"}
    ...    resource_requirements={"cpu_units": 1, "memory_mb": 512}    timeout_seconds=3600
    ...    retry_config={"max_attempts": 3, "backoff_multiplier": 2}
    Should Be Equal    ${job}[type]    data_export
    Should Be Equal    ${job}[status]    pending
    Should Be Equal    ${job}[priority]    high
    Status Should Come To Be    success    /jobs/${job}[job_id]

Only The Type Is Required
    ${job} =    Post    /jobs/    answers_with=201    type=ping
    Should Be Equal    ${job}[priority]    normal
    Status Should Come To Be    success    /jobs/${job}[job_id]
    ${answer} =    Post    /jobs/    answers_with=422    priority=high
    Should Contain    ${answer}[detail]    type

The More Urgent Runs First
    Scale Queue    noop    1
    Pause Queue    noop
    VAR    @{ids}
    FOR    ${priority}    IN    low    normal    high    critical
        ${job} =    Post    /jobs/    answers_with=201    type=${priority}    priority=${priority}
        VAR    @{ids}    ${job}[job_id]    @{ids}
    END
    Resume Queue    noop
    Jobs Should Succeed    @{ids}
    Starts Should Be In Order    @{ids}
    [Teardown]    Scale Queue    noop    ${None}

A Job Waits For Those It Depends On
    ${first} =    Post    /jobs/    answers_with=201    type=first    payload={"duration_seconds": 0.5}
    ${second} =    Post    /jobs/    answers_with=201    type=second    depends_on=["${first}[job_id]"]
    Should Be Equal    ${second}[status]    blocked
    Status Should Come To Be    success    /jobs/${second}[job_id]
    Job Should Start After    ${second}[job_id]    ${first}[job_id]

Max Attempts Counts Tries
    ${job} =    Post    /jobs/    answers_with=201    type=flaky    payload={"should_fail": true}
    ...    retry_config={"max_attempts": 2, "backoff_multiplier": 1}
    Status Should Come To Be    failed    /jobs/${job}[job_id]
    Attempts Should Be    ${job}[job_id]    exit    exit

The Same Key Is The Same Job
    ${first} =    Post    /jobs/    answers_with=201    type=once    idempotency_key=k1
    ${second} =    Post    /jobs/    answers_with=201    type=once    idempotency_key=k1
    Should Be Equal    ${second}[job_id]    ${first}[job_id]

A List By Status And Type, Newest First
    ${first} =    Post    /jobs/    answers_with=201    type=listed
    ${second} =    Post    /jobs/    answers_with=201    type=listed
    Status Should Come To Be    success    /jobs/${first}[job_id]
    Status Should Come To Be    success    /jobs/${second}[job_id]
    ${found} =    Get    /jobs/?status=success&job_type=listed&limit=10
    Should Be Equal    ${{ [job["job_id"] for job in $found] }}    ${{ [$second["job_id"], $first["job_id"]] }}
    ${newest} =    Get    /jobs/?limit=1
    Length Should Be    ${newest}    1

Logs Are What Happened, Then What It Printed
    ${job} =    Post    /jobs/    answers_with=201    type=script    payload={"command": "echo one; echo two"}
    Status Should Come To Be    success    /jobs/${job}[job_id]
    ${logs} =    Get    /jobs/${job}[job_id]/logs
    ${messages} =    Evaluate    [line["message"] for line in $logs]
    Should Be Equal    ${messages}[0]    submitted to queue local
    Should Be Equal    ${messages}[-2:]    ${{ ["one", "two"] }}

A Waiting Job Can Be Cancelled, A Running One Not
    ${running} =    Post    /jobs/    answers_with=201    type=long    payload={"duration_seconds": 600}
    ${waiting} =    Post    /jobs/    answers_with=201    type=next    depends_on=["${running}[job_id]"]
    Status Should Come To Be    running    /jobs/${running}[job_id]
    ${answer} =    Patch    /jobs/${waiting}[job_id]/cancel
    Should Be Equal    ${answer}[status]    cancelled
    ${answer} =    Patch    /jobs/${running}[job_id]/cancel    answers_with=400
    Should Contain    ${answer}[detail]    running
    [Teardown]    Cancel Job    ${running}[job_id]

The Stream Tells Every Change
    Open Stream    /jobs/stream
    ${job} =    Post    /jobs/    answers_with=201    type=watched
    Stream Should Tell    ${job}[job_id]    pending    running    success
    [Teardown]    Close Stream

An Unknown Job
    Get    /jobs/nope    answers_with=404
    Get    /jobs/nope/logs    answers_with=404
    Patch    /jobs/nope/cancel    answers_with=404


*** Keywords ***
Start Server To Talk To
    ${url} =    Start Server
    Talk To    ${url}
