#include "policy/lint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <fstream>

#include "tests/support/matchers.h"
#include "tests/support/temp_dir.h"

namespace bailiff {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::vector<std::string> NamesIn(std::string_view script) {
  std::vector<std::string> names;
  for (const LintFact& fact : LintText(script)) names.push_back(fact.name);
  return names;
}

TEST(LintTextTest, KnowsDangerousPatterns) {
  const std::pair<const char*, const char*> cases[] = {
      {"os.system('ls')", "os-system"},
      {"x = os.popen (cmd)", "os-system"},
      {"f(cmd, shell = True)", "shell-true"},
      {"subprocess.run(['ls'])", "subprocess"},
      {"os.execvp('ls', [])", "subprocess"},
      {"y = eval(text)", "eval"},
      {"eval \"$x\"", "eval"},
      {"exec(code)", "exec"},
      {"__import__(name)", "dynamic-import"},
      {"shutil.rmtree(path)", "rmtree"},
      {"rm -rf /", "rm-rf"},
      {"rm -v -fr x", "rm-rf"},
      {"import socket", "network"},
      {"from urllib.request import urlopen", "network"},
      {"curl https://example.org", "network"},
      {"cat </dev/tcp/10.0.0.1/80", "network"},
      {"open('/etc/hosts', 'w')", "outside-write"},
      {"echo x >> /home/a/.x", "outside-write"},
      {"cat /etc/shadow", "secrets"},
      {"import ctypes", "native-code"},
      {"pickle.loads(data)", "unpickle"},
      {"echo aGk= | base64 -d | sh", "encoded-exec"},
  };
  for (const auto& [script, name] : cases) {
    EXPECT_THAT(NamesIn(script), ElementsAre(name)) << script;
    EXPECT_TRUE(IsLintName(name)) << name;
  }
  EXPECT_THAT(NamesIn("exec(base64.b64decode(x))"), ElementsAre("exec", "encoded-exec"));
}

TEST(LintTextTest, LeavesAloneWhatOnlyLooksSo) {
  for (const char* script :
       {"", "# os.system('x')", "model.eval()", "evaluate(x)", "cursor.exec(x)", "rm -r x",
        "open('/workspace/a', 'w')", "open('/etc/hosts')", "socket = 1", "print('rm')"}) {
    EXPECT_THAT(NamesIn(script), IsEmpty()) << script;
  }
}

TEST(LintTextTest, TellsLineAndTextAndIsBounded) {
  const std::vector<LintFact> facts = LintText("x = 1\r\n\n  eval(\x1b\xff)  \r\n");
  EXPECT_THAT(facts, ElementsAre(LintFact{"eval", 3, "eval(\x1b\xef\xbf\xbd)"}));
  std::string many;
  for (int i = 0; i < 100; ++i) many += "eval(x)\n";
  EXPECT_EQ(LintText(many).size(), kLintFactsMax);
  const std::vector<LintFact> wide = LintText("eval(" + std::string(500, 'x') + ")");
  EXPECT_EQ(wide.at(0).text.size(), kLintTextBytesMax + 3);
  EXPECT_THAT(LintText(std::string(kLintScriptBytesMax, '\n') + "eval(x)"), IsEmpty());
}

// What the program finds, run here by the host's Python.
std::vector<std::string> ParsedNames(const std::string& script) {
  const TempDir dir;
  std::ofstream(dir.Path("lint.py")) << LintProgram();
  std::ofstream(dir.Path("script")) << script;
  const std::string command =
      "/usr/bin/python3 -I -S " + dir.Path("lint.py") + " <" + dir.Path("script");
  std::FILE* pipe = ::popen(command.c_str(), "r");
  std::string output;
  std::array<char, 4096> chunk;
  while (std::fgets(chunk.data(), chunk.size(), pipe) != nullptr) output += chunk.data();
  EXPECT_EQ(::pclose(pipe), 0);
  const Result<std::vector<LintFact>> facts = ParseLintOutput(output, script);
  EXPECT_THAT(facts, IsOk());
  std::vector<std::string> names;
  for (const LintFact& fact : facts.value()) names.push_back(fact.name);
  return names;
}

TEST(LintProgramTest, FollowsNames) {
  const std::pair<const char*, const char*> cases[] = {
      {"from os import system as s\ns('x')", "os-system"},
      {"import os as o\no.popen('x')", "os-system"},
      {"getattr(os, 'system')('x')", "os-system"},
      {"os.execv('x', [])", "subprocess"},
      {"import shutil as q\nq.rmtree('x')", "rmtree"},
      {"f(shell=True)", "shell-true"},
      {"import builtins\nbuiltins.eval('x')", "eval"},
      {"open('/etc/x', mode='wb')", "outside-write"},
      {"from http.client import X", "network"},
      {"import ctypes.util", "native-code"},
      {"from pickle import loads\nloads(x)", "unpickle"},
      {"from importlib import import_module as m\nm(x)", "dynamic-import"},
  };
  for (const auto& [script, name] : cases) {
    EXPECT_THAT(ParsedNames(script), ElementsAre(name)) << script;
  }
  EXPECT_THAT(ParsedNames("exec(bytes.fromhex('00'))"), ElementsAre("encoded-exec", "exec"));
}

TEST(LintProgramTest, LeavesAloneWhatOnlyLooksSo) {
  for (const char* script :
       {"", "'os.system(1)'", "model.eval()", "open('/dev/null', 'w')", "open('/etc/x')",
        "raise SystemExit(3)", "from .socket import x", "while True: pass"}) {
    EXPECT_THAT(ParsedNames(script), IsEmpty()) << script;
  }
}

TEST(LintProgramTest, SaysWhatItCannotParse) {
  const std::string scripts[] = {"x = (", "#!/bin/sh\nif true; then echo; fi", "a\tb \xff",
                                 std::string("x\0y", 3), std::string(5000, '(')};
  for (const std::string& script : scripts) {
    EXPECT_THAT(ParsedNames(script), ElementsAre("not-parsed")) << script;
  }
}

TEST(ParseLintOutputTest, TakesWhatTheProgramPrints) {
  const Result<std::vector<LintFact>> facts =
      ParseLintOutput("os-system 2\neval 9\n", "import os\nos.system('ls')");
  ASSERT_THAT(facts, IsOk());
  EXPECT_THAT(facts.value(),
              ElementsAre(LintFact{"os-system", 2, "os.system('ls')"}, LintFact{"eval", 9, ""}));
  EXPECT_THAT(ParseLintOutput("", "x").value(), IsEmpty());
}

TEST(ParseLintOutputTest, RefusesAnythingElse) {
  std::string many;
  for (std::size_t i = 0; i <= kLintFactsMax; ++i) many += "eval 1\n";
  for (const std::string& output :
       {std::string("eval 1"), std::string("eval\n"), std::string("evil 1\n"),
        std::string("eval 0\n"), std::string("eval -1\n"), std::string("eval 1 \n"),
        std::string("eval 99999999999\n"), std::string("\n"), many}) {
    EXPECT_THAT(ParseLintOutput(output, "x"), FailsWith(ErrorCode::kInvalidArgument)) << output;
  }
}

TEST(MergeLintTest, KeepsEachNameOnceALineInOrder) {
  EXPECT_THAT(MergeLint({{"eval", 3, "a"}}, {{"exec", 1, "b"}, {"eval", 3, "c"}}),
              ElementsAre(LintFact{"exec", 1, "b"}, LintFact{"eval", 3, "a"}));
}

TEST(LintSentenceTest, NamesTheFirstFewSafely) {
  std::vector<LintFact> facts(7, LintFact{"eval", 1, "x\x1b"});
  EXPECT_EQ(LintSentence({facts[0]}), "line 1: eval: x\\x1b");
  EXPECT_TRUE(LintSentence(facts).ends_with("; and 2 more"));
  EXPECT_EQ(LintSentence({}), "");
}

}  // namespace
}  // namespace bailiff
