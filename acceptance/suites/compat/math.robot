*** Settings ***
Documentation       Clients of the square_sum / cube_sum API: `POST /api/v1/jobs/`, then `/status` and `/result` by number.
Library             hpcq_acceptance
Library             fronts.Fronts
Suite Setup         Start Server To Talk To
Suite Teardown      Stop Server And See That Nothing Is Left


*** Test Cases ***
Sums Of Squares And Cubes
    [Template]    Sum Should Be
    square_sum    [1, 2, 3, 4, 5]    55
    cube_sum      [1, 2, 3]          36
    square_sum    [0.5, -1.5]        2.5

Ids Are Numbers That Go Up
    ${first} =    Post    /api/v1/jobs/    answers_with=201    operation=cube_sum    data=[1]
    ${second} =    Post    /api/v1/jobs    answers_with=201    operation=cube_sum    data=[1]
    Should Be Equal    ${second}[id]    ${{ $first["id"] + 1 }}

A Result That Is Not There Yet
    Pause Queue    compute
    ${job} =    Post    /api/v1/jobs/    answers_with=201    operation=square_sum    data=[3]
    ${after} =    Answer Should Have Header    /api/v1/jobs/${job}[id]/result    400    Retry-After
    Should Be True    ${after} >= 1
    Resume Queue    compute
    Status Should Come To Be    SUCCESS    /api/v1/jobs/${job}[id]/status
    ${answer} =    Get    /api/v1/jobs/${job}[id]/result/
    Should Be Equal    ${answer}[result]    ${{ {"result": 9, "value": 9, "error": None} }}

A Sum Beyond All Numbers Fails
    ${job} =    Post    /api/v1/jobs/    answers_with=201    operation=square_sum    data=[1e200]
    Status Should Come To Be    FAILED    /api/v1/jobs/${job}[id]/status
    ${answer} =    Get    /api/v1/jobs/${job}[id]/result
    Should Be Equal    ${answer}[result][value]    ${None}
    Should Not Be Empty    ${answer}[result][error]

An Unknown Number
    [Template]    Get
    /api/v1/jobs/999999/status    answers_with=404
    /api/v1/jobs/999999/result    answers_with=404
    /api/v1/jobs/nope/status      answers_with=404

A Bad Body
    [Template]    Post
    /api/v1/jobs/    answers_with=422    operation=matmul    data=[1]
    /api/v1/jobs/    answers_with=422    operation=cube_sum    data=one
    /api/v1/jobs/    answers_with=422    operation=cube_sum    data=["1"]
    /api/v1/jobs/    answers_with=422    operation=cube_sum


*** Keywords ***
Start Server To Talk To
    ${url} =    Start Server
    Talk To    ${url}

Sum Should Be
    [Arguments]    ${operation}    ${data}    ${value}
    ${job} =    Post    /api/v1/jobs/    answers_with=201    operation=${operation}    data=${data}
    Should Be Equal    ${job}[status]    PENDING
    Status Should Come To Be    SUCCESS    /api/v1/jobs/${job}[id]/status
    ${answer} =    Get    /api/v1/jobs/${job}[id]/result
    Should Be Equal As Numbers    ${answer}[result][result]    ${value}
    Should Be Equal    ${answer}[result][value]    ${answer}[result][result]
    Should Be Equal    ${answer}[operation]    ${operation}
