*** Settings ***
Documentation       Matrix work: submit it, and verify what comes back with a numpy of one's own.
...
...                 The queue `compute` has warm numpy processes. An array comes back as the artifact `result.npy`,
...                 and the result says its shape, trace, norm and checksum.
Library             hpcq_acceptance
Suite Setup         Start Server
Suite Teardown      Stop Server And See That Nothing Is Left


*** Test Cases ***
The Product Of Two Drawn Matrices
    [Documentation]    With `size` and `seed` the operands are drawn by numpy's generator, `a` first.
    ${job} =    Submit Job    compute    operation=matmul    size=512    seed=7
    Job Should Succeed    ${job}
    Product Should Be What Numpy Computes    ${job}

The Product Of Two Given Matrices
    ${job} =    Submit Job    compute    operation=matmul    a=[[1, 2], [3, 4]]    b=[[5, 6], [7, 8]]
    Job Should Succeed    ${job}
    Product Should Be What Numpy Computes    ${job}

A System Of Linear Equations
    ${job} =    Submit Job    compute    operation=solve    a=[[2, 0], [0, 4]]    b=[2, 4]
    Job Should Succeed    ${job}
    Solution Should Be What Numpy Computes    ${job}

Sums Of Squares And Cubes
    [Template]    A Sum Is Right
    square_sum    [1, 2, 3, 4, 5]
    cube_sum      [1, 2, 3, 4, 5]
    square_sum    [0.5, -1.25, 3e5]

Many Products At Once
    ${jobs} =    Submit Jobs    20    compute    operation=matmul    size=64    seed=3
    Jobs Should Succeed    @{jobs}
    FOR    ${job}    IN    @{jobs}
        Product Should Be What Numpy Computes    ${job}
    END


*** Keywords ***
A Sum Is Right
    [Arguments]    ${operation}    ${data}
    ${job} =    Submit Job    compute    operation=${operation}    data=${data}
    Job Should Succeed    ${job}
    Sum Should Be What Numpy Computes    ${job}
