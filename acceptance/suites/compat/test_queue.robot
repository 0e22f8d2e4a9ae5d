*** Settings ***
Documentation       Clients of the AppWright queue: `POST /submit`, then `GET /status/{job_id}`.
...
...                 The server rehearses: queues, batches, priorities and retries are as ever, and no device is touched.
Library             hpcq_acceptance
Library             fronts.Fronts
Suite Setup         Start Server To Talk To
Suite Teardown      Stop Server And See That Nothing Is Left


*** Variables ***
&{ONBOARDING}       org_id=qualgent    app_version_id=xyz123    test_path=tests/onboarding.spec.js


*** Test Cases ***
A Run Is Submitted And Done
    ${submitted} =    Post    /submit    &{ONBOARDING}    priority=3    target=emulator    max_retries=3
    Should Be Equal    ${submitted}[status]    queued
    ${run} =    Status Should Come To Be    done    /status/${submitted}[job_id]
    Should Be Equal    ${run}[org_id]    qualgent
    Should Be Equal    ${run}[app_version_id]    xyz123
    Should Be Equal    ${run}[test_path]    tests/onboarding.spec.js
    Should Be Equal    ${run}[target]    emulator
    Should Be Equal    ${run}[priority]    ${3}
    Should Be Equal    ${run}[retries]    ${0}
    Should Be Equal    ${run}[max_retries]    ${3}
    Should Be Equal    ${run}[error]    ${None}
    Should Not Be Empty    ${run}[created_at]

Three Retries, Local, No Priority: What Need Not Be Said
    ${submitted} =    Post    /submit    &{ONBOARDING}
    ${run} =    Status Should Come To Be    done    /status/${submitted}[job_id]
    Should Be Equal    ${run}[target]    local
    Should Be Equal    ${run}[priority]    ${0}
    Should Be Equal    ${run}[max_retries]    ${3}

Every Target Names Its Queue
    [Template]    Target Should Be Queue
    local           local
    emulator        emulator
    device_farm     device_farm
    device          emulator
    browserstack    device_farm

An Unknown Target Is Refused, Naming The Known Ones
    ${answer} =    Post    /submit    answers_with=422    &{ONBOARDING}    target=nokia
    Should Contain    ${answer}[detail]    emulator
    Should Contain    ${answer}[detail]    device_farm

A Higher Priority Runs First
    Pause Queue    emulator
    ${low} =    Post    /submit    &{ONBOARDING}    target=emulator    priority=1
    ${high} =    Post    /submit    &{ONBOARDING}    target=emulator    priority=9
    Resume Queue    emulator
    Jobs Should Succeed    ${low}[job_id]    ${high}[job_id]
    Starts Should Be In Order    ${high}[job_id]    ${low}[job_id]

Runs Of One Build Go In Batches Of Three
    Pause Queue    emulator
    VAR    @{ids}
    FOR    ${build}    IN    a    a    b    a    a    a
        ${run} =    Post    /submit    org_id=qualgent    app_version_id=${build}    test_path=tests/t.spec.js
        ...    target=emulator
        VAR    @{ids}    @{ids}    ${run}[job_id]
    END
    Resume Queue    emulator
    Jobs Should Succeed    @{ids}
    Starts Should Be In Order    ${ids}[0]    ${ids}[1]    ${ids}[3]    ${ids}[2]    ${ids}[4]    ${ids}[5]

A Waiting Run Is Queued And Says Why
    Pause Queue    local
    ${submitted} =    Post    /submit    &{ONBOARDING}
    ${run} =    Get    /status/${submitted}[job_id]/
    Should Be Equal    ${run}[status]    queued
    Should Contain    ${run}[reason]    paused
    Cancel Job    ${submitted}[job_id]
    ${run} =    Get    /status/${submitted}[job_id]
    Should Be Equal    ${run}[status]    failed
    Should Be Equal    ${run}[error]    cancelled
    [Teardown]    Resume Queue    local

An Unknown Run
    Get    /status/nope    answers_with=404

A Bad Body
    [Template]    Post
    /submit    answers_with=422    org_id=qualgent    test_path=tests/t.spec.js
    /submit    answers_with=422    org_id=qualgent    app_version_id=xyz123
    /submit    answers_with=422    org_id=qualgent    app_version_id=xyz123    test_path=../../etc/passwd
    /submit    answers_with=422    org_id=qualgent    app_version_id=xyz123    test_path=--config=x


*** Keywords ***
Start Server To Talk To
    ${url} =    Start Server    --rehearse    config=[queues.emulator]\nslots = 1\n
    Talk To    ${url}

Target Should Be Queue
    [Arguments]    ${target}    ${queue}
    ${submitted} =    Post    /submit    &{ONBOARDING}    target=${target}
    ${run} =    Status Should Come To Be    done    /status/${submitted}[job_id]
    Should Be Equal    ${run}[target]    ${target}
    ${job} =    Job Should Succeed    ${submitted}[job_id]
    Should Be Equal    ${job}[queue]    ${queue}
