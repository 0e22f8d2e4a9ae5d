*** Settings ***
Documentation       A job may wait for the ends of others: for their `success`, their `failure`, or `any` end.
...
...                 When an end is not the one that was waited for, the dependent fails with `dependency` and never
...                 runs, and so do its own dependents. Dependencies cross queues.
Library             hpcq_acceptance
Suite Setup         Start Server
Suite Teardown      Stop Server And See That Nothing Is Left


*** Test Cases ***
One After The Other, Over Two Queues
    Pause Queue    local
    ${first} =     Submit Job    local      command=echo first
    ${second} =    Submit Job    compute    operation=square_sum    data=[1, 2, 3]    depends_on=["${first}"]
    ${third} =     Submit Job    local      command=echo third    depends_on=["${second}"]
    Explanation Should Be    ${second}    dependency
    Resume Queue    local
    Jobs Should Succeed    ${first}    ${second}    ${third}
    Job Should Start After    ${second}    ${first}
    Job Should Start After    ${third}    ${second}

A Failure Takes Its Branch Along
    ${broken} =      Submit Job    local    command=false
    ${child} =       Submit Job    local    command=true    depends_on=["${broken}"]
    ${grandchild} =  Submit Job    local    command=true    depends_on=["${child}"]
    Job Should Fail    ${broken}    exit
    ${found} =    Job Should Fail    ${grandchild}    dependency
    Should Be Equal As Integers    ${found}[attempt]    0    it never ran

Something For The Case Of A Failure
    ${broken} =     Submit Job    local    command=false
    ${alarm} =      Submit Job    local    command=echo alarm    depends_on=[{"job": "${broken}", "on": "failure"}]
    ${tidy} =       Submit Job    local    command=echo tidy     depends_on=[{"job": "${broken}", "on": "any"}]
    Jobs Should Succeed    ${alarm}    ${tidy}

Many To One
    ${parts} =    Submit Jobs    10    noop    duration_s=0.05
    ${ids} =    Evaluate    json.dumps($parts)
    ${whole} =    Submit Job    noop    depends_on=${ids}
    Job Should Succeed    ${whole}
    FOR    ${part}    IN    @{parts}
        Job Should Start After    ${whole}    ${part}
    END

The Array Of One Job Is The Operand Of The Next
    [Documentation]    The dependency is implied, and nothing is sent over the wire.
    ${product} =    Submit Job    compute    operation=matmul    a=[[2, 0], [0, 3]]    b=[[1, 0], [0, 1]]
    ${det} =        Submit Job    compute    operation=det    a={"job": "${product}"}
    ${found} =    Job Should Succeed    ${det}
    Should Be Equal As Numbers    ${found}[result][value]    6    precision=9

Nobody Can Wait For What Is Not There
    Submit Should Be Refused    422    /depends_on/0    local    command=true
    ...    depends_on=["00000000-0000-7000-8000-000000000000"]
