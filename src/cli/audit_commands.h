#pragma once

#include <string>

#include "cli/session.h"

namespace bailiff {

struct AuditVerifyOptions {
  std::string key;         // A public key file; empty: the ledger's own, which proves less.
  std::string checkpoint;  // One that was kept elsewhere; may be empty.
  std::string ledger;      // A ledger directory; empty: the workspace's.
};
// 0 when the ledger is whole, 1 when it is not. Needs no workspace when `ledger` is given.
int AuditVerifyCommand(Session& session, const AuditVerifyOptions& options);

struct AuditShowOptions {
  std::string from = "1";   // The number of the first record.
  bool checkpoint = false;  // Sign the present head and print that instead.
};
int AuditShowCommand(Session& session, const AuditShowOptions& options);

}  // namespace bailiff
