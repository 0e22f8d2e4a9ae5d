*** Settings ***
Documentation       A server of its own takes work over HTTP, does it, says what came of it, and leaves nothing behind.
Library             ${CURDIR}/../keywords/HpcqLibrary.py
Suite Setup         Start Server
Suite Teardown      Stop Server


*** Variables ***
&{PRODUCT}          operation=matmul    size=${256}    seed=${7}
&{GREETING}         command=echo hello
&{LONG}             command=sleep 600


*** Test Cases ***
A Matrix Product Is What Numpy Computes
    ${job} =    Submit Job    compute    ${PRODUCT}
    Job Should Be    ${job}    succeeded
    Product Should Be What Numpy Computes    ${job}

A Command's Output Comes Back
    ${job} =    Submit Job    local    ${GREETING}
    Job Should Be    ${job}    succeeded
    Output Should Be    ${job}    hello\n

A Stopped Server Leaves No Process Behind
    ${job} =    Submit Job    local    ${LONG}
    Job Should Be    ${job}    running
    ${status} =    Stop Server
    Should Be Equal As Integers    ${status}    0
    Nothing Should Survive
