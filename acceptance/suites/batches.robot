*** Settings ***
Documentation       Jobs of one key run in a row on one slot, three at a time while others wait.
...
...                 A prepared slot (a booted device, an installed app) is worth keeping. `batch_key` says which jobs
...                 share it, `batch_size` how many may go in a row before another key has its turn.
Library             hpcq_acceptance
Suite Setup         Start Server    config=[queues.lane]\nrunner = "noop"\nslots = 1\nbatch_size = 3\n
Suite Teardown      Stop Server And See That Nothing Is Left
Test Setup          Pause Queue    lane


*** Test Cases ***
Three In A Row, Then The Others Have Their Turn
    ${jobs} =    Submit With Keys    a    a    b    a    a    a
    Resume Queue    lane
    Jobs Should Succeed    @{jobs}
    ${order} =    Names In Order Of Start    @{jobs}
    Should Be Equal    ${order}    ${{list("aaabaa")}}

Nobody Else Waits: The Row Goes On
    ${jobs} =    Submit With Keys    c    c    c    c    c
    Resume Queue    lane
    Jobs Should Succeed    @{jobs}
    Starts Should Be In Order    @{jobs}

A Higher Priority Breaks The Row
    ${jobs} =    Submit With Keys    a    a    a
    ${urgent} =    Submit Job    lane    name=urgent    batch_key=b    priority=high
    Resume Queue    lane
    Jobs Should Succeed    @{jobs}    ${urgent}
    Starts Should Be In Order    ${urgent}    @{jobs}


*** Keywords ***
Submit With Keys
    [Arguments]    @{keys}
    VAR    @{jobs}
    FOR    ${key}    IN    @{keys}
        ${job} =    Submit Job    lane    name=${key}    batch_key=${key}
        VAR    @{jobs}    @{jobs}    ${job}
    END
    RETURN    ${jobs}
