*** Settings ***
Documentation       A suite that was written for the simulated HPC job queue, run against hpcq as it is.
...
...                 It knows nothing of hpcq: RequestsLibrary for the API, a `JobLibrary.py` of its own for the jobs. Only
...                 the server is started by ours.
Library             hpcq_acceptance    AS    hpcq
Library             RequestsLibrary
Library             ${CURDIR}/JobLibrary.py
Suite Setup         Start The Server
Suite Teardown      Run Keywords    Delete All Sessions    AND    hpcq.Stop Server And See That Nothing Is Left


*** Test Cases ***
The API Is Ready
    ${response} =    GET On Session    queue    /    expected_status=200
    Should Be Equal    ${response.json()}[status]    API is ready

A Job Is Completed Within Ten Seconds
    ${id} =    JobLibrary.Submit Job    ${URL}    TestMatrix    ${5}
    ${answer} =    Wait For Completion    ${URL}    ${id}
    Should Be Equal    ${answer}[status]    completed
    Should Be Equal    ${answer}[job_id]    ${id}
    Should Be Equal    ${answer}[matrix_size]    2500x2500
    Should Be True    0 < ${answer}[duration_seconds] < 10
    Should Not Be Empty    ${answer}[processed_at]

A Job That Is Too Complex Fails
    ${id} =    JobLibrary.Submit Job    ${URL}    TestMatrix    ${21}
    ${answer} =    Wait For Completion    ${URL}    ${id}
    Should Be Equal    ${answer}[status]    failed
    Should Be Equal    ${answer}[error]    Complexity too high

A Job That Nobody Knows
    GET On Session    queue    /job/no-such-job    expected_status=404


*** Keywords ***
Start The Server
    ${url} =    hpcq.Start Server
    VAR    ${URL}    ${url}    scope=SUITE
    VAR    &{json}    Accept=application/json
    Create Session    queue    ${url}    headers=${json}
