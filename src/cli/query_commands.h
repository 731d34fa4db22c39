#pragma once

#include <string>

#include "cli/session.h"

// The commands that read. Each returns the exit status.

namespace bailiff {

struct ListOptions {
  bool held = false;
  std::string limit = "50";
  std::string status;
  std::string case_name;
};
int ListCommand(Session& session, const ListOptions& options);

int ShowCommand(Session& session, const std::string& id);

struct LogsOptions {
  std::string id;
  bool raw = false;  // Exact bytes, nothing escaped.
  bool only_err = false;
};
int LogsCommand(Session& session, const LogsOptions& options);

int ChangesCommand(Session& session, const std::string& id);

// `path`: empty for all of it.
int DiffCommand(Session& session, const std::string& id, const std::string& path);

// `path`: of a file or folder; empty for the whole workspace.
int HistoryCommand(Session& session, const std::string& path, const std::string& limit);

}  // namespace bailiff
