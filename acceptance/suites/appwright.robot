*** Settings ***
Documentation       AppWright and Playwright tests are jobs: each test's verdict is kept, and a retry runs only what failed.
...
...                 The tests here are run by the real Playwright. `cwd` is the project's folder, `test_path` one spec file
...                 or folder in it.
Library             hpcq_acceptance
Library             projects.Projects
Suite Setup         Start With A Project
Suite Teardown      Stop Server And See That Nothing Is Left


*** Test Cases ***
A Spec That Passes
    Write Spec    ${SHOP}    login    test("logs in", async () => {});
    ${job} =    Submit Job    local    test_path=tests/login.spec.js    cwd=${SHOP}    app_version_id=xyz123
    Job Should Succeed    ${job}
    Verdicts Should Be    ${job}    logs in=passed

A Spec With A Test That Fails
    Write Spec    ${SHOP}    cart    ${PASSES}${FAILS}
    ${job} =    Submit Job    local    test_path=tests/cart.spec.js    cwd=${SHOP}
    Job Should Fail    ${job}    exit    1 of 2 tests failed
    Verdicts Should Be    ${job}    adds=passed    pays=failed

Failed, Then Passed, Is Flaky
    [Documentation]    The second attempt runs the failed test alone; the job's result is the union of both.
    Write Spec    ${SHOP}    pay    ${PASSES}${ONCE}
    ${job} =    Submit Job    local    test_path=tests/pay.spec.js    cwd=${SHOP}
    ...    retries={"max": 1, "backoff_s": 0.01}
    Job Should Succeed    ${job}
    Attempts Should Be    ${job}    exit    succeeded
    Verdicts Should Be    ${job}    attempt=1    adds=passed    pays once more=failed
    Verdicts Should Be    ${job}    attempt=2    pays once more=passed
    Verdicts Should Be    ${job}    adds=passed    pays once more=flaky

A Spec That Is Not There
    ${job} =    Submit Job    local    test_path=tests/nothing.spec.js    cwd=${SHOP}
    Job Should Fail    ${job}    rejected    tests/nothing.spec.js is not there

A Path Out Of The Project
    Submit Should Be Refused    422    /params/test_path    local    test_path=../secret.spec.js    cwd=${SHOP}

A Cancelled Run Leaves Nothing
    Write Spec    ${SHOP}    long    ${LASTS}
    ${job} =    Submit Job    local    test_path=tests/long.spec.js    cwd=${SHOP}
    Job Should Have Printed    ${job}    pid
    Cancel Job    ${job}
    Job Should Be    ${job}    cancelled
    Processes Of Job Should Be Gone    ${job}    1


*** Variables ***
${PASSES}           test("adds", async () => {});
${FAILS}            test("pays", async () => { expect(1).toBe(2); });
${ONCE}             test("pays once more", async () => { expect(process.env.HPCQ_ATTEMPT).toBe("2"); });
${LASTS}            test("lasts", async () => { test.setTimeout(0); console.log("pid " + process.pid);
...                 await new Promise(() => {}); });


*** Keywords ***
Start With A Project
    Start Server
    ${here} =    Working Folder
    ${folder} =    Make Project    ${here}/shop
    VAR    ${SHOP}    ${folder}    scope=SUITE
