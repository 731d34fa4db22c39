#include "core/doctor.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <string>

#include "core/doctor_layers.h"
#include "core/probe.h"
#include "core/proof.h"
#include "tests/support/matchers.h"

namespace bailiff {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

// What a host on which everything holds shows.
Evidence Whole() {
  Evidence evidence;
  evidence.guarantees = Guarantees{
      .own_uid = true, .scratch = "tmpfs", .limits = "cgroup2", .seccomp = true, .landlock = 7};
  for (const Attempt& attempt : Attempts()) {
    evidence.outside.push_back(0);
    evidence.inside.push_back(attempt.errnos.front());
  }
  evidence.look = Look{.uid = 2'000'000'000,
                       .root_mapped = false,
                       .no_new_privs = true,
                       .no_capabilities = true,
                       .filtered = true,
                       .shared = {},
                       .cgroup = "0::/bailiff/doctor.1.1\n"};
  evidence.limits.pids = 32;
  evidence.limits.scratch_bytes = 1000;
  evidence.few_cpus = 0.25;
  evidence.told = {{kProbeOverlay, {0, 0}},
                   {kProbeScratch, {1000, ENOSPC}},
                   {kProbeFiles, {40, ENOSPC}},
                   {kProbePids, {30, EAGAIN}},
                   {kProbeCpu, {250, 0}}};
  evidence.detached_ran = evidence.detached_ended = evidence.memory_killed = true;
  return evidence;
}

HostFacts Host() {
  HostFacts host;
  host.kernel.privileged = true;
  host.kernel.user_namespaces.ok = host.kernel.seccomp.ok = true;
  host.kernel.tmpfs_attributes.ok = true;
  host.release = "6.1.0";
  host.has_cgroup2 = true;
  return host;
}

Diagnosis Judge(const Evidence& evidence, const HostFacts& host = Host()) {
  Diagnosis diagnosis;
  diagnosis.host = host;
  diagnosis.layers = JudgeLayers(evidence, host);
  return diagnosis;
}

std::vector<std::string> NamesOf(const Diagnosis& diagnosis, Holds holds) {
  std::vector<std::string> names;
  for (const Layer& layer : diagnosis.layers) {
    if (layer.holds == holds) names.push_back(layer.name);
  }
  return names;
}

std::size_t IndexOf(const std::string& name) {
  const auto found = std::find_if(Attempts().begin(), Attempts().end(),
                                  [&](const Attempt& attempt) { return attempt.name == name; });
  CHECK(found != Attempts().end());
  return static_cast<std::size_t>(found - Attempts().begin());
}

TEST(JudgeLayersTest, EverythingHolds) {
  const Diagnosis diagnosis = Judge(Whole());
  EXPECT_TRUE(diagnosis.healthy());
  EXPECT_THAT(NamesOf(diagnosis, Holds::kWeaker), IsEmpty());
  EXPECT_THAT(WordsThatHold(diagnosis), ElementsAre("none", "ns", "own-uid", "cgroup", "landlock"));
}

// One thing that went wrong, and the layer that it is told of.
TEST(JudgeLayersTest, WhatWentWrongIsToldOfItsLayer) {
  struct Case {
    const char* layer;
    std::function<void(Evidence*)> spoil;
  };
  const Case cases[] = {
      {"user-namespace", [](Evidence* e) { e->look->root_mapped = true; }},
      {"user-namespace", [](Evidence* e) { e->look->shared = {"user"}; }},
      {"mounts", [](Evidence* e) { e->look->shared = {"mnt"}; }},
      {"mounts", [](Evidence* e) { e->connections = 1; }},
      {"overlay", [](Evidence* e) { e->damage = "keep"; }},
      {"overlay",
       [](Evidence* e) {
         e->told[kProbeOverlay] = {6, 0};
       }},
      {"overlay", [](Evidence* e) { e->told.erase(kProbeOverlay); }},
      {"pid-namespace", [](Evidence* e) { e->look->shared = {"pid"}; }},
      {"network-namespace", [](Evidence* e) { e->look->shared = {"net"}; }},
      {"ipc-namespace", [](Evidence* e) { e->look->shared = {"ipc"}; }},
      {"uts-namespace", [](Evidence* e) { e->look->shared = {"uts"}; }},
      {"privileges", [](Evidence* e) { e->look->no_new_privs = false; }},
      {"privileges", [](Evidence* e) { e->look->no_capabilities = false; }},
      {"seccomp", [](Evidence* e) { e->look->filtered = false; }},
      {"memory", [](Evidence* e) { e->memory_killed = false; }},
      {"pids",
       [](Evidence* e) {
         e->told[kProbePids] = {33, EAGAIN};
       }},
      {"pids",
       [](Evidence* e) {
         e->told[kProbePids] = {4096, 0};
       }},
      {"cpu",
       [](Evidence* e) {
         e->told[kProbeCpu] = {990, 0};
       }},
      {"cpu", [](Evidence* e) { e->told.erase(kProbeCpu); }},
      {"scratch",
       [](Evidence* e) {
         e->told[kProbeScratch] = {1001, ENOSPC};
       }},
      {"scratch",
       [](Evidence* e) {
         e->told[kProbeScratch] = {500, EIO};
       }},
      {"scratch",
       [](Evidence* e) {
         e->told[kProbeFiles] = {200'000, 0};
       }},
      {"kill", [](Evidence* e) { e->detached_ended = false; }},
      {"kill", [](Evidence* e) { e->detached_ran = e->detached_ended = false; }},
  };
  for (const Case& spoiled : cases) {
    SCOPED_TRACE(spoiled.layer);
    Evidence evidence = Whole();
    spoiled.spoil(&evidence);
    const Diagnosis diagnosis = Judge(evidence);
    EXPECT_FALSE(diagnosis.healthy());
    EXPECT_THAT(NamesOf(diagnosis, Holds::kNo), ElementsAre(spoiled.layer));
    EXPECT_THAT(WordsThatHold(diagnosis), ElementsAre("none"));
  }
}

TEST(JudgeLayersTest, AnAttemptThatWorksInsideIsToldOfItsLayer) {
  for (std::size_t i = 0; i < Attempts().size(); ++i) {
    SCOPED_TRACE(Attempts()[i].name);
    Evidence evidence = Whole();
    evidence.inside[i] = 0;
    EXPECT_THAT(NamesOf(Judge(evidence), Holds::kNo), ElementsAre(Attempts()[i].layer));
    EXPECT_FALSE(JudgeProbes(evidence)[i].holds);
  }
}

TEST(JudgeLayersTest, WhatIsRefusedOutsideAsWellProvesNothing) {
  Evidence evidence = Whole();
  for (const char* name :
       {"connect to a port of the host", "connect to an abstract socket of the host"}) {
    evidence.outside[IndexOf(name)] = evidence.inside[IndexOf(name)];
  }
  const Diagnosis diagnosis = Judge(evidence);
  EXPECT_THAT(NamesOf(diagnosis, Holds::kNo), ElementsAre("network-namespace"));
  EXPECT_THAT(diagnosis.Find("network-namespace")->why, HasSubstr("proves nothing"));
}

TEST(JudgeLayersTest, WhatStandsInForALayerIsWeakerAndNotHealthysEnd) {
  Evidence evidence = Whole();
  evidence.guarantees->own_uid = false;
  evidence.guarantees->landlock = 0;
  evidence.guarantees->limits = "rlimits";
  evidence.inside[IndexOf("listen on a port")] = 0;  // Only Landlock refuses it.
  evidence.inside[IndexOf("open a file beneath a directory passed from outside")] = 0;
  evidence.told[kProbeCpu] = {1000, 0};
  const Diagnosis diagnosis = Judge(evidence);
  EXPECT_TRUE(diagnosis.healthy());
  EXPECT_THAT(NamesOf(diagnosis, Holds::kWeaker),
              ElementsAre("own-uid", "landlock", "memory", "pids", "cpu"));
  EXPECT_THAT(WordsThatHold(diagnosis), ElementsAre("none", "ns"));
}

TEST(JudgeLayersTest, AnOwnUidIsWhatTheWorkspaceAllowsAndNotTmp) {
  Evidence evidence = Whole();
  evidence.there = There{*evidence.guarantees, ""};
  EXPECT_EQ(Judge(evidence).Find("own-uid")->holds, Holds::kYes);
  evidence.there->guarantees->own_uid = false;
  const Diagnosis shared = Judge(evidence);
  EXPECT_THAT(NamesOf(shared, Holds::kWeaker), ElementsAre("own-uid"));
  EXPECT_THAT(shared.Find("own-uid")->why, HasSubstr("this workspace is on a file system"));
  EXPECT_THAT(WordsThatHold(shared), ElementsAre("none", "ns", "cgroup", "landlock"));
  evidence.guarantees->own_uid = false;
  evidence.there->guarantees->own_uid = true;
  EXPECT_EQ(Judge(evidence).Find("own-uid")->holds, Holds::kYes);
}

TEST(JudgeLayersTest, AWorkspaceThatNoSandboxCanBeMadeOverIsToldOfItsLayer) {
  Evidence evidence = Whole();
  evidence.there = There{std::nullopt, "the workspace is on a file system that cannot map ids"};
  EXPECT_THAT(NamesOf(Judge(evidence), Holds::kNo), ElementsAre("own-uid"));
  evidence.there->failure = "workspace: a is a mount point";
  EXPECT_THAT(NamesOf(Judge(evidence), Holds::kNo), ElementsAre("mounts"));
  EXPECT_EQ(Judge(evidence).Find("mounts")->why, "workspace: a is a mount point");
}

TEST(JudgeLayersTest, OnV1EachControllerIsToldByItself) {
  Evidence evidence = Whole();
  evidence.guarantees->limits = "rlimits";
  evidence.look->cgroup = "4:memory:/bailiff/doctor.1.1\n3:pids:/bailiff/doctor.1.1\n1:cpu:/\n";
  EXPECT_THAT(NamesOf(Judge(evidence), Holds::kWeaker), ElementsAre("cpu"));
}

TEST(JudgeLayersTest, ARulesetWithoutTcpIsNotAskedAboutIt) {
  Evidence evidence = Whole();
  evidence.guarantees->landlock = 3;
  evidence.inside[IndexOf("listen on a port")] = 0;
  EXPECT_TRUE(Judge(evidence).healthy());
}

TEST(WhyNoSandboxTest, NamesTheLayerTheReasonAndWhatHelps) {
  struct Case {
    std::function<void(HostFacts*)> spoil;
    const char* failure;
    const char* layer;
    const char* why;
    const char* advice;
  };
  const Case cases[] = {
      {[](HostFacts* h) {
         h->kernel.user_namespaces.ok = false;
         h->userns_max = 0;
       },
       "", "user-namespace", "user.max_user_namespaces is 0",
       "sysctl -w user.max_user_namespaces="},
      {[](HostFacts* h) {
         h->kernel.user_namespaces.ok = h->kernel.privileged = false;
         h->userns_clone = 0;
       },
       "", "user-namespace", "kernel.unprivileged_userns_clone is 0",
       "sysctl -w kernel.unprivileged_userns_clone=1"},
      {[](HostFacts* h) {
         h->kernel.user_namespaces.ok = h->kernel.privileged = false;
         h->apparmor_restricts = 1;
       },
       "", "user-namespace", "AppArmor", "/etc/apparmor.d/bailiff"},
      {[](HostFacts* h) {
         h->kernel.user_namespaces.ok = false;
         h->filtered = true;
       },
       "", "user-namespace", "seccomp filter", "--security-opt seccomp=unconfined"},
      {[](HostFacts* h) { h->kernel.seccomp.ok = false; }, "", "seccomp", "",
       "CONFIG_SECCOMP_FILTER"},
      {[](HostFacts* h) { h->kernel.privileged = h->kernel.tmpfs_attributes.ok = false; },
       "start sandbox: neither tmpfs nor the file system of the state directory keeps user "
       "attributes",
       "overlay", "tmpfs of Linux 6.1.0", "run Bailiff as root"},
      {[](HostFacts* h) { h->has_overlay = false; }, "mount overlay over the workspace: No such",
       "overlay", "not loaded", "modprobe overlay"},
      {[](HostFacts* h) { h->masked = "/proc/kcore"; }, "start sandbox: mount /proc: Operation",
       "mounts", "/proc/kcore", "systempaths=unconfined"},
  };
  for (const Case& spoiled : cases) {
    SCOPED_TRACE(spoiled.advice);
    HostFacts host = Host();
    spoiled.spoil(&host);
    Evidence evidence;
    evidence.failure = spoiled.failure;
    const Diagnosis diagnosis = Judge(evidence, host);
    EXPECT_FALSE(diagnosis.healthy());
    const Layer& layer = *diagnosis.Find(spoiled.layer);
    EXPECT_THAT(layer.why, HasSubstr(spoiled.why));
    ASSERT_FALSE(layer.advice.empty());
    EXPECT_THAT(layer.advice.front(), HasSubstr(spoiled.advice));
  }
}

TEST(WhyNoLandlockTest, TellsAListWithoutItFromAKernelWithoutIt) {
  HostFacts host = Host();
  EXPECT_THAT(WhyNoLandlock(host).why, HasSubstr("built without Landlock"));
  host.lsm = "capability,apparmor";
  EXPECT_THAT(WhyNoLandlock(host).advice, ElementsAre(HasSubstr("lsm=landlock,capability")));
  host.filtered = true;
  EXPECT_THAT(WhyNoLandlock(host).why, HasSubstr("seccomp filter"));
}

TEST(ParseRequireTest, KnowsItsWordsAndNoOthers) {
  EXPECT_THAT(ParseRequire("").value(), IsEmpty());
  EXPECT_THAT(ParseRequire("ns,own-uid").value(), ElementsAre("ns", "own-uid"));
  EXPECT_THAT(ParseRequire("vm"), FailsWith(ErrorCode::kUnsupported));
  EXPECT_THAT(ParseRequire("ns,gvisor"), FailsWith(ErrorCode::kUnsupported));
  for (const char* text : {"NS", "ns,", ",", "ns own-uid", "seccomp"}) {
    EXPECT_THAT(ParseRequire(text), FailsWith(ErrorCode::kInvalidArgument)) << text;
  }
}

TEST(PlaceAmongCgroupsTest, IsTheSameInEachSessionAndAnotherWhereMoreIsDelegated) {
  const std::string user = "0::/user.slice/user-1000.slice/";
  const std::string session = PlaceAmongCgroups(user + "session-3.scope\n");
  EXPECT_EQ(session, PlaceAmongCgroups(user + "session-12.scope\n"));
  const std::string manager = user + "user@1000.service/app.slice/";
  const std::string unit = PlaceAmongCgroups(manager + "run-r0a1b.scope\n");
  EXPECT_EQ(unit, PlaceAmongCgroups(manager + "run-r77ff.scope\n"));
  EXPECT_NE(unit, session);
  EXPECT_EQ(PlaceAmongCgroups(manager + "run-u7.service\n"),
            PlaceAmongCgroups(manager + "run-u8.service\n"));
  EXPECT_EQ(PlaceAmongCgroups(manager + "app-shell@12ab.service\n"),
            PlaceAmongCgroups(manager + "app-shell@34cd.service\n"));
  EXPECT_NE(PlaceAmongCgroups("0::/system.slice/agent.service\n"),
            PlaceAmongCgroups("0::/system.slice/other.service\n"));
  EXPECT_NE(PlaceAmongCgroups("4:memory:/a\n0::/\n"), PlaceAmongCgroups("4:memory:/b\n0::/\n"));
}

TEST(DecodeProofsTest, TakesWhatWasEncodedAndNothingElse) {
  const std::vector<Proof> proofs = {{"ab", {"none", "ns"}, 0}, {"cd", {"landlock"}, 7}};
  EXPECT_EQ(DecodeProofs(EncodeProofs(proofs)), proofs);
  EXPECT_EQ(DecodeProofs(EncodeProofs(std::vector<Proof>(20, proofs[0]))).size(), kProofsMax);
  for (const char* text :
       {"", "{}", "[]", R"({"proofs":{}})", R"({"proofs":[1]})",
        R"({"proofs":[{"circumstances":"ab","words":[],"landlock":-1}]})",
        R"({"proofs":[{"circumstances":"ab","words":"ns","landlock":1}]})",
        R"({"proofs":[{"circumstances":1,"words":[],"landlock":99999999999}]})"}) {
    EXPECT_THAT(DecodeProofs(text), IsEmpty()) << text;
  }
  const std::vector<Proof> odd =
      DecodeProofs(R"({"proofs":[0,{"circumstances":"ab","words":["ns","vm",7],"landlock":1}]})");
  EXPECT_THAT(odd, ElementsAre(Proof{"ab", {"ns"}, 1}));
}

}  // namespace
}  // namespace bailiff
