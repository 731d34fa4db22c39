#pragma once

#include <string>

#include "policy/policy.h"

namespace bailiff {

// A run in case "A" (40 files) that went well, and what it changed.
struct Effects {
  Effects() {
    context.case_name = "A";
    context.case_files = 40;
  }

  Change& Add(ChangeOp op, const std::string& path, EntryType type = EntryType::kFile) {
    Change change;
    change.op = op;
    change.type = type;
    change.path = path;
    if (op != ChangeOp::kCreate) change.base = Identity();
    set.changes.push_back(change);
    return set.changes.back();
  }
  Change& Create(const std::string& path) { return Add(ChangeOp::kCreate, path); }
  void Move(const std::string& from, const std::string& to, EntryType type = EntryType::kDir) {
    Add(ChangeOp::kMove, to, type).from = from;
  }
  void Link(const std::string& path, const std::string& target) {
    Add(ChangeOp::kCreate, path, EntryType::kSymlink).link_target = target;
  }
  void Delete(int count) {
    for (int i = 0; i < count; ++i) {
      Add(ChangeOp::kDelete, "projects/A/" + std::to_string(1000 + i));
    }
  }

  ChangeSet set;
  PolicyContext context;
};

}  // namespace bailiff
