#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "changeset/capture_base.h"
#include "changeset/plan.h"

namespace bailiff {

// Where the content of a file that a plan makes or rewrites comes from.
struct PlanContent {
  enum class Kind : std::uint8_t {
    kOwn,     // It is the base file's, unchanged.
    kGiven,   // Of the operation `operation`.
    kCopied,  // Of the base file `path`, which was `from` when it was looked at.
  };
  Kind kind = Kind::kOwn;
  std::size_t operation = 0;
  std::string path;
  Identity from;
};

// One entry of the tree that a plan leads to.
struct PlanNode {
  EntryType type = EntryType::kDir;
  std::string unusable;  // Why no operation can have to do with it; empty: one can.
  bool is_base = false;  // The base entry `base_path` itself, wherever it is now.
  std::string base_path;
  Identity identity;  // What the base has there.

  std::uint32_t mode = 0;
  std::int64_t size = 0;
  std::int64_t mtime_ns = 0;
  bool stripped_setid = false;
  PlanContent content;      // Of a file.
  std::string link_target;  // Of a symbolic link.

  // Of a directory: what was looked at or put there; null: there is nothing (any more). Of a base
  // directory, the others are those of the base.
  std::map<std::string, std::unique_ptr<PlanNode>> children;
  bool is_complete = false;
};

// A workspace as it would be after some operations: the base, with what they changed in memory.
class PlanTree {
 public:
  // Both must outlive this object.
  PlanTree(Base* base, const PlanRequest& request);

  // False: the scope is not a directory of the base. Call first.
  Result<bool> EnterScope();

  // Does operation `index`. Returns what is wrong with it, or "" when it is done; appends to
  // `warnings`.
  Result<std::string> Apply(std::size_t index, std::vector<std::string>* warnings);

  const PlanNode& root() const { return root_; }

  // Base entries that the tree no longer has anywhere, each descendant on its own.
  struct Gone {
    std::string path;
    Identity identity;
  };
  const std::vector<Gone>& gone() const { return gone_; }

 private:
  // Where a path leads. `node` is null when there is nothing.
  struct Place {
    std::string wrong;        // Why it leads nowhere: something on the way is not a directory.
    PlanNode* dir = nullptr;  // Null when a directory on the way is missing.
    PlanNode* node = nullptr;
    std::string name;
  };

  Result<std::string> Move(const PlanOperation& operation);
  Result<std::string> Copy(const PlanOperation& operation);
  Result<std::string> Delete(const PlanOperation& operation);
  Result<std::string> CreateDir(const PlanOperation& operation);
  Result<std::string> WriteFile(std::size_t index);

  Result<Place> Find(std::string_view path);
  Result<Place> FindSource(const PlanOperation& operation);
  Result<Place> FindTarget(const PlanOperation& operation);
  Result<PlanNode*> Child(PlanNode* dir, const std::string& name);
  Result<PlanNode*> MakeParent(std::string_view path);
  Status LoadAll(PlanNode* dir);
  Result<std::string> Put(std::string_view path, std::unique_ptr<PlanNode> node);
  Result<std::string> Bury(PlanNode* node, std::int64_t* entries);
  Result<std::string> Clone(PlanNode* node, std::unique_ptr<PlanNode>* clone);
  Result<std::string> DigestTree(PlanNode* dir);
  Result<std::string> CheckDepth(const PlanOperation& operation, const PlanNode& node);
  Result<std::size_t> HeightOf(const PlanNode& node);
  Result<std::string> CheckReserved();
  bool IsReserved(std::string_view path) const;
  Status Count(std::size_t entries);

  Base& base_;
  const PlanRequest& request_;
  PlanNode root_;
  PlanNode* scope_ = nullptr;
  std::vector<Gone> gone_;
  std::vector<std::string>* warnings_ = nullptr;  // Of the operation that is being done.
  std::size_t entries_ = 0;                       // That were looked at or made.
};

}  // namespace bailiff
