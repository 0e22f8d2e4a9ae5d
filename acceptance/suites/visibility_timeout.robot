*** Settings ***
Documentation       An attempt that nobody can vouch for is taken back and tried again, uncharged.
...
...                 The lease (`lease_s` of the queue, 30 s by default) is what other queues call visibility timeout. It
...                 is renewed by the server's supervision, not by the job: a job may be busy for as long as it likes.
...                 One that is stopped dead, or whose processes answer no more, is killed and goes back to its queue.
Library             hpcq_acceptance
Suite Setup         Start Server    config=[queues.lane]\nrunner = "shell"\nslots = 1\nlease_s = 1\ngrace_s = 0.2\n
Suite Teardown      Stop Server And See That Nothing Is Left


*** Test Cases ***
A Silent Job Goes Back And Runs Again
    [Documentation]    It stops itself; without retries of its own it is tried again all the same.
    ${job} =    Submit Job    lane    command=echo pid $$; [ $HPCQ_ATTEMPT = 2 ] || kill -STOP $$
    Job Should Succeed    ${job}
    Attempts Should Be    ${job}    lost    succeeded
    Processes Of Job Should Be Gone    ${job}    1    attempt=1

A Long Job Is Not Silent
    ${job} =    Submit Job    lane    command=sleep 2.5
    Job Should Succeed    ${job}
    Attempts Should Be    ${job}    succeeded

Those Behind It Have Their Turn
    ${silent} =    Submit Job    lane    command=[ $HPCQ_ATTEMPT = 2 ] || kill -STOP $$
    ${behind} =    Submit Job    lane    command=echo my turn
    Jobs Should Succeed    ${silent}    ${behind}
    Attempts Should Be    ${behind}    succeeded
