"""Train a millrace model each Monday, write its report, and leave the decision to a person.

train    runs `millrace train` for the data interval. Its last line of output is the result as JSON, which goes to XCom.
         Exit code 99, an interval without rows, skips this task and those behind it; 1 is tried again. A wrong file (2) and a
         refused gate (3) would come out the same each time: they are passed on with their result instead of being tried again.
gate     fails with the words of the gate, or of the error, if there is no new candidate.
report   writes the page from which a person decides: millrace model approve MODEL --by NAME --reason TEXT

The same run again, by "clear" or after a crash, registers no second version: --run-id is the run's id in Airflow.
"""

import json
import os
from datetime import datetime, timedelta, timezone

from airflow.providers.standard.operators.bash import BashOperator
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import AirflowFailException
from airflow.timetables.interval import CronDataIntervalTimetable

# The folder of the pipeline file, which says ${DATA_INTERVAL_START} and ${DATA_INTERVAL_END} where it names the data.
PROJECT = os.environ.get("MILLRACE_PROJECT", "/opt/millrace/houses")

with DAG(
    dag_id="millrace_train",
    # Not just "0 3 * * 1": since Airflow 3 that has no data interval.
    schedule=CronDataIntervalTimetable("0 3 * * 1", timezone="Europe/Paris"),
    start_date=datetime(2014, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
) as dag:
    train = BashOperator(
        task_id="train",
        cwd=PROJECT,
        bash_command="""
millrace train --json --run-id "$RUN_ID" --data-interval-start "$FROM" --data-interval-end "$TO" || {
  code=$?
  case $code in 2 | 3) ;; *) exit $code ;; esac
}""",
        env={"RUN_ID": "{{ run_id }}", "FROM": "{{ data_interval_start | ts }}", "TO": "{{ data_interval_end | ts }}"},
        append_env=True,
        output_processor=json.loads,
        skip_on_exit_code=99,
        retries=2,
        retry_delay=timedelta(minutes=5),
    )

    @task
    def gate(result: dict) -> str:
        """Return the name of the candidate, or fail for good."""
        if result["status"] == "ok":
            return result["model"]
        error = result["error"]
        raise AirflowFailException(f"{result.get('model', PROJECT)}: {error['message']} (hint: {error.get('hint', 'none')})")

    report = BashOperator(
        task_id="report",
        cwd=PROJECT,
        bash_command='mkdir -p reports && millrace report "$MODEL" --html "reports/$MODEL.html" && echo "$PWD/reports/$MODEL.html"',
        env={"MODEL": "{{ ti.xcom_pull(task_ids='gate') }}"},
        append_env=True,
    )

    gate(train.output) >> report
