#include "api/schemas.h"

#include <boost/json.hpp>
#include <string_view>

namespace bailiff {
namespace {

// Documents may grow members; requests take only what is here.
constexpr std::string_view kSchemas = R"json({
"Object": {"type": "object"},
"Health": {"type": "object", "required": ["status"], "properties": {"status": {"type": "string"}}},
"Problem": {"type": "object", "required": ["type", "title", "status", "detail", "code"],
  "properties": {"type": {"type": "string"}, "title": {"type": "string"},
    "status": {"type": "integer"}, "detail": {"type": "string"}, "code": {"type": "string"},
    "field": {"type": "string"}}},
"RunRequest": {"type": "object", "additionalProperties": false,
  "description": "A member that is null is as good as absent.",
  "oneOf": [
    {"required": ["script_path"], "properties": {"script_path": {"type": "string"},
      "code": {"type": "null"}, "command": {"type": "null"}}},
    {"required": ["code"], "properties": {"code": {"type": "string"},
      "script_path": {"type": "null"}, "command": {"type": "null"}}},
    {"required": ["command"], "properties": {"command": {"type": "array"},
      "script_path": {"type": "null"}, "code": {"type": "null"}}}],
  "properties": {
    "script_path": {"type": ["string", "null"], "minLength": 1,
      "description": "A script of the workspace: Tools/x.py; a leading / is the workspace's root."},
    "script_args": {"type": ["array", "null"], "items": {"type": "string"}},
    "code": {"type": ["string", "null"], "minLength": 1, "description": "The text of a script."},
    "language": {"enum": ["python", "bash", null]},
    "command": {"type": ["array", "null"], "minItems": 1, "items": {"type": "string"}},
    "case_name": {"type": ["string", "null"]},
    "working_dir": {"type": ["string", "null"]},
    "mode": {"enum": ["commit", "review", "discard", null]},
    "on_failure": {"enum": ["commit", "review", "discard", null]},
    "environment": {"enum": ["default", null]},
    "network": {"enum": ["none", "host", null]},
    "env": {"type": ["object", "null"], "propertyNames": {"pattern": "^[^=]+$"},
      "additionalProperties": {"type": "string"}},
    "stdin": {"type": ["string", "null"]},
    "require": {"type": ["string", "null"],
      "pattern": "^((none|ns|own-uid|cgroup|landlock)(,(none|ns|own-uid|cgroup|landlock))*)?$"},
    "description": {"type": ["string", "null"]},
    "cold": {"type": ["boolean", "null"]},
    "wait_lock_seconds": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 1000000},
    "limits": {"type": ["object", "null"], "additionalProperties": false, "properties": {
      "timeout_seconds": {"type": ["number", "null"], "exclusiveMinimum": 0, "maximum": 1000000},
      "memory_bytes": {"type": ["integer", "null"], "minimum": 16777216},
      "cpus": {"type": ["number", "null"], "minimum": 0.05, "maximum": 1024},
      "pids": {"type": ["integer", "null"], "minimum": 4, "maximum": 32768},
      "scratch_bytes": {"type": ["integer", "null"], "minimum": 1048576},
      "files": {"type": ["integer", "null"], "minimum": 1, "maximum": 1000000},
      "output_bytes": {"type": ["integer", "null"], "minimum": 1, "maximum": 1073741824}}}}},
"Execution": {"type": "object",
  "required": ["execution_id", "status", "success", "exit_code", "stdout", "stderr", "timestamp",
    "mode", "principal", "limits", "changes", "decision", "warnings", "error"],
  "properties": {
    "execution_id": {"type": "string"},
    "status": {"enum": ["queued", "running", "succeeded", "failed", "timed_out", "oom_killed",
      "limit_exceeded", "cancelled", "interrupted", "denied", "error"]},
    "success": {"type": "boolean"}, "exit_code": {"type": ["integer", "null"]},
    "signal": {"type": ["integer", "null"]},
    "stdout": {"type": "string"}, "stderr": {"type": "string"},
    "stdout_truncated": {"type": "boolean"}, "stderr_truncated": {"type": "boolean"},
    "duration_seconds": {"type": "number"}, "timestamp": {"type": "string"},
    "changes": {"$ref": "#/components/schemas/ChangeState"},
    "decision": {"type": ["object", "null"]},
    "warnings": {"type": "array", "items": {"type": "string"}},
    "error": {"type": ["string", "null"]}, "log_file": {"type": ["string", "null"]}}},
"ChangeState": {"type": "object", "required": ["state"], "properties": {
    "state": {"enum": ["none", "held", "approved", "committing", "committed", "discarded",
      "rejected", "denied", "expired", "conflict", "needs_attention", "rolled_back"]},
    "digest": {"type": ["string", "null"]}, "created": {"type": "integer"},
    "modified": {"type": "integer"}, "deleted": {"type": "integer"}, "moved": {"type": "integer"},
    "metadata": {"type": "integer"}, "bytes_written": {"type": "integer"}}},
"ExecutionPage": {"type": "object", "required": ["executions", "next_cursor"], "properties": {
    "executions": {"type": "array", "items": {"$ref": "#/components/schemas/Execution"}},
    "next_cursor": {"type": ["string", "null"]}}},
"Proposal": {"type": "object", "required": ["id", "kind", "state", "digest"], "properties": {
    "id": {"type": "string"}, "kind": {"enum": ["execution", "plan", "rollback"]},
    "state": {"type": "string"}, "digest": {"type": ["string", "null"]}}},
"ProposalPage": {"type": "object", "required": ["proposals", "next_cursor"], "properties": {
    "proposals": {"type": "array", "items": {"$ref": "#/components/schemas/Proposal"}},
    "next_cursor": {"type": ["string", "null"]}}},
"Event": {"type": "object", "required": ["id", "event", "data"],
  "description": "One event of the stream.", "properties": {
    "id": {"type": "string", "description": "What Last-Event-ID takes."},
    "event": {"enum": ["status", "output", "changes", "done"]},
    "data": {"type": "string", "contentMediaType": "application/json"}}},
"Changes": {"type": "object", "required": ["id", "state", "changes"], "properties": {
    "id": {"type": "string"}, "state": {"type": "string"},
    "changes": {"type": "array", "items": {"type": "object"}}}},
"Approval": {"type": "object", "additionalProperties": false, "required": ["digest"],
  "properties": {"digest": {"type": "string", "minLength": 1,
    "description": "sha256:..., of the change set that is meant; at least 8 digits."}}},
"Rejection": {"type": "object", "additionalProperties": false,
  "properties": {"reason": {"type": ["string", "null"]}}},
"Action": {"type": "object", "required": ["id", "done", "state"], "properties": {
    "id": {"type": "string"}, "done": {"type": "boolean"}, "state": {"type": "string"},
    "error": {"type": ["string", "null"]}, "conflicts": {"type": "array"},
    "warnings": {"type": "array"}}},
"Operation": {"type": "object", "additionalProperties": false, "required": ["type"], "properties": {
    "type": {"enum": ["move", "copy", "delete", "create_dir", "write_file"]},
    "source": {"type": ["string", "null"]}, "destination": {"type": ["string", "null"]},
    "content": {"type": ["string", "null"]}, "content_b64": {"type": ["string", "null"]}}},
"FileOperation": {"type": "object", "additionalProperties": false, "required": ["type"],
  "properties": {"type": {"enum": ["move", "mkdir"]}, "from": {"type": ["string", "null"]},
    "to": {"type": ["string", "null"]}, "path": {"type": ["string", "null"]}}},
"MutationPlan": {"type": "object", "additionalProperties": false, "required": ["operations"],
  "properties": {"plan_id": {"type": ["string", "null"], "maxLength": 0},
    "case_name": {"type": ["string", "null"]}, "description": {"type": ["string", "null"]},
    "created_by": {"type": ["string", "null"]}, "requires_approval": {"type": ["boolean", "null"]},
    "operations": {"type": "array", "minItems": 1, "maxItems": 10000,
      "items": {"$ref": "#/components/schemas/Operation"}}}},
"FileOps": {"type": "object", "additionalProperties": false, "required": ["operations"],
  "properties": {"case_name": {"type": ["string", "null"]}, "dry_run": {"type": ["boolean",
    "null"]},
    "description": {"type": ["string", "null"]},
    "operations": {"type": "array", "minItems": 1, "maxItems": 10000,
      "items": {"$ref": "#/components/schemas/FileOperation"}}}},
"Plan": {"anyOf": [{"$ref": "#/components/schemas/MutationPlan"},
  {"$ref": "#/components/schemas/FileOps"}]},
"PlanDocument": {"type": "object", "required": ["case_name", "operations", "validation",
    "changes"]},
"PlanPage": {"type": "object", "required": ["plans", "next_cursor"], "properties": {
    "plans": {"type": "array", "items": {"type": "object"}},
    "next_cursor": {"type": ["string", "null"]}}},
"History": {"type": "object", "required": ["path", "events"], "properties": {
    "path": {"type": "string"}, "events": {"type": "array", "items": {"type": "object"}}}},
"Queue": {"type": "object", "required": ["waiting", "workers", "running", "paused"],
  "properties": {"waiting": {"type": "integer"}, "workers": {"type": "integer"},
    "running": {"type": "integer"}, "paused": {"type": "boolean"},
    "paused_by": {"type": ["string", "null"]}}},
"Stats": {"type": "object", "required": ["total_executions", "success_rate", "period_hours"]}
})json";

}  // namespace

boost::json::object Schemas() {
  return boost::json::parse(kSchemas).as_object();
}

}  // namespace bailiff
