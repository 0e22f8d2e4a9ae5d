*** Settings ***
Documentation       The command `hpcq`: what a person types, and what a script can rely on.
...
...                 Results go to stdout, remarks to stderr, `--json` prints JSON. Exit codes: 0 all succeeded, 1 a job
...                 did not, 2 asked wrongly, 3 no server, 124 gave up waiting.
Library             hpcq_acceptance
Library             OperatingSystem
Suite Setup         Start Server
Suite Teardown      Stop Server And See That Nothing Is Left


*** Test Cases ***
Run: What It Prints, And Its End
    ${done} =    Run Hpcq    run    --    echo    hello
    Should Be Equal    ${done.out}    hello\n
    ${done} =    Run Hpcq    run    --    sh    -c    exit 3    exits_with=1
    Should Contain    ${done.err}    exit code 3

Submit, And Look Later
    ${done} =    Run Hpcq    submit    --name    later    --    sh    -c    echo done
    VAR    ${id}    ${done.out.strip()}
    Run Hpcq    wait    ${id}
    ${done} =    Run Hpcq    logs    ${id}
    Should Be Equal    ${done.out}    done\n
    ${done} =    Run Hpcq    show    ${id}
    Should Match Regexp    ${done.out}    state +succeeded
    ${done} =    Run Hpcq    list    --name    later    --ids
    Should Be Equal    ${done.out}    ${id}\n

JSON For Scripts
    ${done} =    Run Hpcq    submit    --json    --wait    --queue    noop    --params    {"message": "hi"}
    ${job} =    Evaluate    json.loads($done.out)
    Should Be Equal    ${job}[state]    succeeded
    Should Be Equal    ${job}[result][message]    hi

Why Does It Wait
    Run Hpcq    queues    pause    noop
    ${done} =    Run Hpcq    submit    --queue    noop    --params    {}
    ${why} =    Run Hpcq    explain    ${done.out.strip()}
    Should Contain    ${why.out}    paused
    Run Hpcq    queues    resume    noop
    Run Hpcq    wait    ${done.out.strip()}

A Job For Each Row
    ${here} =    Working Folder
    Create File    ${here}/grid.csv    a,b\n1,10\n2,20\n
    Run Hpcq    submit    --each    grid.csv    --tag    study=s    --wait    --    sh    -c    echo $(({a} + {b}))
    ${done} =    Run Hpcq    list    --tag    study=s    --tag    a=2    --ids
    Output Should Be    ${done.out.strip()}    22\n

Asked Wrongly
    ${done} =    Run Hpcq    submit    --queue    nowhere    --params    {}    exits_with=2
    Should Contain    ${done.err}    nowhere
    Run Hpcq    submit    --no-such-option    exits_with=2

Gave Up Waiting
    ${job} =    Submit Job    noop    duration_s=600
    Run Hpcq    wait    ${job}    --timeout    0.2    exits_with=124
    Run Hpcq    cancel    ${job}

No Server
    ${done} =    Run Hpcq    list    url=http://127.0.0.1:9    exits_with=3
    Should Contain    ${done.err}    no server
    Should Be Empty    ${done.out}

Nothing That A Job Prints Steers The Terminal
    ${done} =    Run Hpcq    run    --    printf    \\033[31mred\\033[0m
    Should Be Equal    ${done.out}    red
