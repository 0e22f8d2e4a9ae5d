*** Settings ***
Documentation       Clients of the simulated HPC job queue: `POST /submit-job`, then `GET /job/{job_id}`.
Library             hpcq_acceptance
Library             fronts.Fronts
Suite Setup         Start Server To Talk To
Suite Teardown      Stop Server And See That Nothing Is Left


*** Test Cases ***
The API Is Ready
    ${answer} =    Get    /
    Should Be Equal    ${answer}    ${{ {"status": "API is ready"} }}

Complexity 5 Is A Product Of 2500 By 2500, Completed Within 10 Seconds
    ${submitted} =    Post    /submit-job    task_name=TestMatrix    complexity=5
    Should Be Equal    ${submitted}[status]    queued
    ${job} =    Status Should Come To Be    completed    /job/${submitted}[job_id]    timeout=10s
    Should Be Equal    ${job}[job_id]    ${submitted}[job_id]
    Should Be Equal    ${job}[matrix_size]    2500x2500
    Should Be True    ${job}[duration_seconds] > 0
    Should Match Regexp    ${job}[processed_at]    ^\\d{4}-\\d\\d-\\d\\dT
    Product Should Be What Numpy Computes    ${submitted}[job_id]

A Complexity Over 20 Is Accepted, Then Failed And Never Computed
    ${submitted} =    Post    /submit-job    task_name=TooMuch    complexity=21
    ${job} =    Status Should Come To Be    failed    /job/${submitted}[job_id]
    Should Be Equal    ${job}[error]    Complexity too high
    Job Should Fail    ${submitted}[job_id]    rejected

A Waiting Job Is Pending
    Pause Queue    compute
    ${submitted} =    Post    /submit-job    task_name=Later    complexity=1
    ${job} =    Get    /job/${submitted}[job_id]
    Should Be Equal    ${job}    ${{ {"job_id": $submitted["job_id"], "status": "pending"} }}
    Resume Queue    compute
    Status Should Come To Be    completed    /job/${submitted}[job_id]

A Cancelled Job Is Failed
    Pause Queue    compute
    ${submitted} =    Post    /submit-job    task_name=Never    complexity=1
    Cancel Job    ${submitted}[job_id]
    ${job} =    Get    /job/${submitted}[job_id]
    Should Be Equal    ${job}[error]    cancelled
    [Teardown]    Resume Queue    compute

A Slash At The End Makes No Difference
    ${submitted} =    Post    /submit-job/    task_name=Slash    complexity=1
    Status Should Come To Be    completed    /job/${submitted}[job_id]/

An Unknown Job
    ${answer} =    Get    /job/nope    answers_with=404
    Should Not Be Empty    ${answer}[detail]

A Bad Body
    [Template]    Body Should Be Refused
    task_name=NoComplexity
    complexity=many
    complexity=0
    complexity=[5]


*** Keywords ***
Start Server To Talk To
    ${url} =    Start Server
    Talk To    ${url}

Body Should Be Refused
    [Arguments]    &{fields}
    ${answer} =    Post    /submit-job    answers_with=422    &{fields}
    Should Contain    ${answer}[detail]    complexity
