"""What users of the simulated HPC job queue have had beside their suites: submit a job, wait for its end."""

import time

import requests

LIMIT_S = 10.0
POLL_S = 0.2


class JobLibrary:
    """The keywords `Submit Job` and `Wait For Completion`."""

    ROBOT_LIBRARY_SCOPE = "SUITE"

    def submit_job(self, url: str, task_name: str, complexity: int) -> str:
        """`POST /submit-job`; the job's id."""
        body: dict[str, str | int] = {"task_name": task_name, "complexity": complexity}
        response = requests.post(f"{url}/submit-job", json=body, timeout=LIMIT_S)
        response.raise_for_status()
        answer = response.json()
        assert answer["status"] == "queued", f"the status is {answer['status']}, not queued"
        return str(answer["job_id"])

    def wait_for_completion(self, url: str, job_id: str) -> dict[str, object]:
        """`GET /job/{job_id}` until it is neither pending nor running, at most 10 s; the last answer."""
        ends = time.monotonic() + LIMIT_S
        while True:
            response = requests.get(f"{url}/job/{job_id}", timeout=LIMIT_S)
            response.raise_for_status()
            answer: dict[str, object] = response.json()
            if answer["status"] not in ("pending", "running"):
                return answer
            assert time.monotonic() < ends, f"the job is {answer['status']} after {LIMIT_S:g} s"
            time.sleep(POLL_S)
