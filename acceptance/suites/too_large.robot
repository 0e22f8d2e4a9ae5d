*** Settings ***
Documentation       What is too large is refused: at once where it can be known, else by the runner, with the reason.
...
...                 What can never fit is 422 at the submit, and names the field. What only the runner knows fails with
...                 `rejected`, and is never tried again.
Library             hpcq_acceptance
Suite Setup         Start Server    config=[queues.compute]\nmax_size = 100\n\n[resources]\nlicence = 1\n
Suite Teardown      Stop Server And See That Nothing Is Left


*** Test Cases ***
A Matrix Over The Limit Fails, Whatever Its Retries
    ${job} =    Submit Job    compute    operation=matmul    size=101    seed=1    retries={"max": 5}
    Job Should Fail    ${job}    rejected    101    max_size
    Attempts Should Be    ${job}    rejected

A Matrix At The Limit Is Computed
    ${job} =    Submit Job    compute    operation=matmul    size=100    seed=1
    Job Should Succeed    ${job}
    Product Should Be What Numpy Computes    ${job}

More Of A Resource Than There Is
    Submit Should Be Refused    422    /resources/licence    local    command=true    resources={"licence": 2}

A Resource That Is Not There
    Submit Should Be Refused    422    /resources/gpu    local    command=true    resources={"gpu": 1}

A Label That No Slot Can Have
    Submit Should Be Refused    422    /requires/model    local    command=true    requires={"model": "Pixel 9"}

A Parameter That Makes No Sense
    Submit Should Be Refused    422    /params/size    compute    operation=matmul    size=0

A Result Of More Than 64 KiB
    [Documentation]    The result is for what fits into an answer; larger things are artifacts.
    ${job} =    Submit Job    local    command=head -c 70000 /dev/zero | tr '\\0' 1 > "$HPCQ_RESULT"
    Job Should Fail    ${job}    exception    65536    HPCQ_ARTIFACTS
