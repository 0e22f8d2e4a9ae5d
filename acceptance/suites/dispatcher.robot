*** Settings ***
Documentation       `hpcq run -f FILE`: many jobs at once, shown live, with results and figures at the end.
...
...                 The two files in `config/examples/` are a queue for each of two jobs, which know nothing of each
...                 other: where one queue is closed, the other's job runs all the same.
Library             hpcq_acceptance
Library             OperatingSystem
Suite Setup         Start With The Example
Suite Teardown      Stop Server And See That Nothing Is Left


*** Variables ***
${EXAMPLES}         ${CURDIR}/../../config/examples
${JOBS}             ${EXAMPLES}/two-queues-jobs.toml


*** Test Cases ***
Header, Changes, Results, Figures
    ${done} =    Run Hpcq    run    -f    ${JOBS}
    Should Match Regexp    ${done.out}    ^\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d${SPACE}+http://\\S+${SPACE}+2 jobs\\n
    FOR    ${letter}    IN    A    B
        Should Contain    ${done.out}    queue_${letter.lower()}: 1 job, 1 slot\n
        FOR    ${word}    IN    SENT    PENDING    SUCCESS
            Should Match Regexp    ${done.out}    (?m)^ +\\d+\\.\\d\\ds${SPACE}+${word} +Task ${letter} +[0-9a-f-]{36}$
        END
        Should Match Regexp    ${done.out}    (?m)^SUCCESS +Task ${letter}: Hello from Task ${letter}$
    END
    Should Match Regexp    ${done.out}    total \\S+, average \\S+, fastest \\S+, slowest \\S+, elapsed \\S+
    Should Contain    ${done.out}    2 of 2 succeeded

Results In A File, By The Time
    Run Hpcq    run    -f    ${JOBS}    --out
    ${here} =    Working Folder
    ${files} =    List Files In Directory    ${here}    hpcq_results_*.json
    Should Match Regexp    ${files}[0]    ^hpcq_results_\\d{8}_\\d{6}\\.json$
    ${report} =    Evaluate    json.load(open($here + "/" + $files[0]))
    Should Be Equal    ${report}[jobs][0][result]    Hello from Task A
    Should Be Equal    ${report}[jobs][1][result]    Hello from Task B
    Should Be Equal As Integers    ${report}[counts][succeeded]    2

Results For Other Programs
    ${done} =    Run Hpcq    run    -f    ${JOBS}    --json    --junit    r.xml
    ${report} =    Evaluate    json.loads($done.out)
    Should Be Equal As Integers    ${report}[exit_code]    0
    ${here} =    Working Folder
    ${cases} =    Evaluate    xml.etree.ElementTree.parse($here + "/r.xml").getroot().get("tests")
    Should Be Equal    ${cases}    2

A Queue That Nobody Serves
    [Documentation]    The display says so, the job waits, and the other queue is not held up.
    Pause Queue    queue_b
    Task B Should Wait Because    paused
    Resume Queue    queue_b
    Scale Queue    queue_b    0
    Task B Should Wait Because    no slots
    Scale Queue    queue_b    ${None}

No Server
    ${done} =    Run Hpcq    run    -f    ${JOBS}    url=http://127.0.0.1:9    exits_with=3
    Length Should Be    ${done.err.splitlines()}    1
    Should Be Empty    ${done.out}


*** Keywords ***
Start With The Example
    ${config} =    Get File    ${EXAMPLES}/two-queues.toml
    Start Server    config=${config}

Task B Should Wait Because
    [Arguments]    ${reason}
    ${done} =    Run Hpcq    run    -f    ${JOBS}    --timeout    2    --cancel-on-exit    exits_with=124
    Should Match Regexp    ${done.out}    (?m)^ +queue_b: ${reason}
    Should Match Regexp    ${done.out}    (?m)^SUCCESS +Task A
    Should Match Regexp    ${done.out}    (?m)^CANCELLED +Task B
