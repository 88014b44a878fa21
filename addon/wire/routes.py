"""HTTP paths, headers and limits of the service (protocol in docs/protocol.md)."""

HELLO = "/v1/hello"  # GET: ServerInfo
MODELS = "/v1/models"  # GET: list of ModelInfo
TASKS = "/v1/tasks"  # POST TASKS/<name>: submit a request of that task -> Submitted
JOBS = "/v1/jobs"  # GET: list of JobStatus; GET JOBS/<id>; POST JOBS/<id>/cancel; GET JOBS/<id>/result
EVENTS = "/v1/events"  # GET ?after=SEQ&wait=SECONDS[&job=ID]: list of JobEvent, long poll
BLOBS = "/v1/blobs"  # PUT BLOBS/<sha256>, HEAD, GET: content-addressed uploads and previews
SHUTDOWN = "/v1/shutdown"  # POST: finish and end

PROTOCOL_HEADER = "X-Lathe-Protocol"
SUPERSEDE_PARAMETER = "supersede"  # POST TASKS/<name>?supersede=KEY: cancels the unfinished job of the same KEY

MAX_JSON_BYTES = 1 << 20
MAX_BLOB_BYTES = 1 << 30
MAX_EVENT_WAIT_SECONDS = 30.0

JSON_TYPE = "application/json"
PACKED_TYPE = "application/x-safetensors"
