"""HTTP paths, parameters, headers and limits of the service (explained in docs/protocol.md).

Every request carries `Authorization: Bearer <token>`, and under /v1 also `PROTOCOL_HEADER: <PROTOCOL_VERSION>`. Every
answer that is not 2xx is an `ErrorInfo` as JSON with the error's `http_status`, which `errors.error_from_dict` turns
back into the exception.
"""

HELLO = "/v1/hello"  # GET -> ServerInfo
MODELS = "/v1/models"  # GET -> ModelList
TASKS = "/v1/tasks"  # POST TASKS/<name>[?supersede=KEY], body: the request's JSON -> Submitted
JOBS = "/v1/jobs"  # GET -> list[JobStatus], newest first; GET JOBS/<id> -> JobStatus
CANCEL = "/cancel"  # POST JOBS/<id>/cancel -> JobStatus; of an ended job: its status, nothing changes
RESULT = "/result"  # GET JOBS/<id>/result[?wait=SECONDS] -> 200 packed result, 202 JobStatus (not ended), or its error
EVENTS = "/v1/events"  # GET ?after=SEQUENCE&wait=SECONDS[&job=ID] -> list[JobEvent], long poll
BLOBS = "/v1/blobs"  # PUT BLOBS/<sha256> -> 201 (new) or 200 (known), no body; HEAD; GET -> the bytes
SHUTDOWN = "/v1/shutdown"  # POST -> 204; running work is cancelled and the process ends
OPENAPI = "/openapi.json"  # GET -> the OpenAPI document

# Events. Sequence numbers increase over all jobs and restarts of the backend, with gaps. `after` is the last one seen
# (0: everything still kept). The answer comes at once if there is a newer event, otherwise with the next one, or empty
# after `wait` seconds. Each job has the events queued, started, progress*, then exactly one of TERMINAL_KINDS, which is
# the last. Only the newest progress event of a job is kept. Jobs that were unfinished when a backend died are reported
# as `failed` by the next one (code backend_died).
AFTER_PARAMETER = "after"
WAIT_PARAMETER = "wait"
JOB_PARAMETER = "job"

# Submission. supersede=KEY ends the unfinished jobs submitted with the same KEY, also a running one, as `superseded`.
SUPERSEDE_PARAMETER = "supersede"

PROTOCOL_HEADER = "X-Lathe-Protocol"

MAX_JSON_BYTES = 1 << 20
MAX_BLOB_BYTES = 1 << 30
MAX_WAIT_SECONDS = 30.0
MAX_EVENT_WAIT_SECONDS = MAX_WAIT_SECONDS

JSON_TYPE = "application/json"
PACKED_TYPE = "application/x-safetensors"
