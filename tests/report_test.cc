// The report page: reading result files, scales and labels, what the page shows of recorded results.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <regex>

#include "bench/report/format.h"
#include "bench/report/html.h"
#include "bench/report/kind.h"
#include "bench/report/labels.h"
#include "bench/report/report_page.h"
#include "bench/report/results.h"
#include "bench/report/scale.h"
#include "bench/report/sweep_charts.h"
#include "support/result_json.h"
#include "support/sweep.h"

namespace strobe::bench::report {
namespace {

using test::error_message;
using test::rates_json;
using test::read_json;
using test::recorded;
using test::result_json;
using test::row_json;
using testing::AllOf;
using testing::Each;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::size_t count(const std::string& text, const std::string& part) {
  std::size_t found = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++found;
  return found;
}

struct Tag {
  std::string name;
  bool closes = false;  // </name>
  bool empty = false;   // <name … />
};

// The tags of a text, in their order. Quoted values of attributes may hold anything.
std::vector<Tag> tags_of(const std::string& text) {
  const auto is_lower = [](char c) { return c >= 'a' && c <= 'z'; };
  std::vector<Tag> tags;
  for (std::size_t at = text.find('<'); at != std::string::npos; at = text.find('<', at)) {
    Tag tag;
    tag.closes = text[++at] == '/';
    if (tag.closes) ++at;
    if (!is_lower(text[at])) continue;
    while (is_lower(text[at]) || (text[at] >= '0' && text[at] <= '9')) tag.name += text[at++];
    for (bool quoted = false; at < text.size() && (quoted || text[at] != '>'); ++at)
      if (text[at] == '"') quoted = !quoted;
    tag.empty = text[at - 1] == '/';
    tags.push_back(tag);
  }
  return tags;
}

// What is not closed or not opened in the body; empty when all is well nested.
std::string nesting_error(const std::string& html) {
  std::vector<std::string> open;
  const std::size_t start = html.find("<body>") + 6;
  for (const Tag& tag : tags_of(html.substr(start, html.find("\n<script>\n") - start))) {
    if (tag.empty || tag.name == "wbr") continue;
    if (!tag.closes) {
      open.push_back(tag.name);
    } else if (open.empty() || open.back() != tag.name) {
      return "</" + tag.name + "> closes " + (open.empty() ? "nothing" : open.back());
    } else {
      open.pop_back();
    }
  }
  return open.empty() ? "" : open.back() + " stays open";
}

std::string page_of(const Json& json) { return report_page({read_json(json)}); }

// The picture of a width under a title.
std::string picture(const std::string& page, const std::string& title, int width) {
  const std::string start = "<svg class=\"chart w" + std::to_string(width) + "\"";
  for (std::size_t at = page.find(start); at != std::string::npos; at = page.find(start, at + 1)) {
    const std::string svg = page.substr(at, page.find("</svg>", at) - at);
    if (svg.find("<title>" + title + "</title>") != std::string::npos) return svg;
  }
  ADD_FAILURE() << "no picture " << title;
  return {};
}

TEST(ResultFile, ReadsRecordedRuns) {
  const ResultFile suite = read_json(recorded("llama-3.1-8b.json"));
  EXPECT_EQ(suite.rows.size(), recorded("llama-3.1-8b.json")["rows"].size());
  EXPECT_EQ(suite.rows.front().routine, "rmsnorm");
  EXPECT_NEAR(suite.rows.front().gbs(),
              recorded("llama-3.1-8b.json")["rows"][0]["tb_per_sec"].get<double>() * 1e3, 1e-9);
  const ResultFile service = read_json(recorded("azure-conv.json"));
  ASSERT_TRUE(service.workload);
  EXPECT_EQ(service.workload->steps.size(), 200u);
}

TEST(ResultFile, NamesFileAndPlaceOfWhatIsNoJson) {
  const auto message = [](const char* text) { return error_message([=] { read_result("a.json", text); }); };
  EXPECT_THAT(message(""), HasSubstr("a.json: parse error at line 1, column 1"));
  EXPECT_THAT(message("{\"version\": \"1\",\n\n \"rows\": [1,]}"),
              HasSubstr("a.json: parse error at line 3, column 13"));
  EXPECT_THAT(message("[]"), HasSubstr("a.json: expected an object, got []"));
  EXPECT_THAT(message("{}"), HasSubstr("a.json: expected a field 'version'"));
  EXPECT_THAT(message("{\"version\": 1e999}"), HasSubstr("a.json: "));
}

TEST(ResultFile, NamesTheFieldThatIsWrong) {
  const Json good = result_json({row_json("rmsnorm", 1, 0.02), row_json("rope", 1, 0.02)});
  const struct {
    const char* field;
    Json value;
    const char* message;
  } wrong[] = {
      {"median_ms", nullptr, "a.json: rows[1].median_ms: expected a number above 0, got null"},
      {"median_ms", 0, "rows[1].median_ms: expected a number above 0, got 0"},
      {"std_ms", -1, "rows[1].std_ms: expected a number, at least 0, got -1"},
      {"num_iters", 0, "rows[1].num_iters: expected an integer, at least 1, got 0"},
      {"threads", 1e12, "rows[1].threads: expected an integer, at least 0"},
      {"routine", 3, "rows[1].routine: expected a text, got 3"},
      {"case", "x", "rows[1].case: expected an object, got \"x\""},
      {"roofline_bound", "luck", "rows[1].roofline_bound: expected memory or compute, got \"luck\""}};
  for (const auto& [field, value, message] : wrong) {
    Json json = good;
    json["rows"][1][field] = value;
    EXPECT_THAT(error_message([&] { read_json(json); }), HasSubstr(message)) << field;
  }
  Json json = good;
  json["rows"][0]["limits"].erase("copy_gbs");
  EXPECT_THAT(error_message([&] { read_json(json); }),
              HasSubstr("a.json: rows[0].limits: expected a field 'copy_gbs'"));
}

TEST(Format, ThreeDigitsAndFittingUnits) {
  EXPECT_EQ(significant(0.0123456), "0.0123");
  EXPECT_EQ(significant(99.96), "100.0");
  EXPECT_EQ(significant(1234), "1234");
  EXPECT_EQ(milliseconds(0.00159), "1.59\u00a0µs");
  EXPECT_EQ(milliseconds(12.09), "12.1\u00a0ms");
  EXPECT_EQ(milliseconds(1234), "1.23\u00a0s");
  EXPECT_EQ(gigabytes_per_second(3350), "3.35\u00a0TB/s");
  EXPECT_EQ(gigaflops(708.2), "708\u00a0GFLOP/s");
  EXPECT_EQ(grouped(1234567), "1\u202f234\u202f567");
  EXPECT_EQ(grouped(123), "123");
  EXPECT_EQ(signed_percent(-0.031), "−3.1\u00a0%");
  EXPECT_EQ(signed_percent(0.00001), "0.0\u00a0%");
}

TEST(Scale, MapsAndTicks) {
  const Scale linear = Scale::linear(0, 90, 0, 450);
  EXPECT_DOUBLE_EQ(linear(45), 225);
  EXPECT_THAT(linear.ticks(5), ElementsAre(0, 20, 40, 60, 80));
  const Scale log = Scale::log(1, 1000, 300, 0);
  EXPECT_NEAR(log(10), 200, 1e-9);
  EXPECT_THAT(log.ticks(8), ElementsAre(1, 10, 100, 1000));
  EXPECT_THAT(Scale::log(1, 40, 0, 1).ticks(8), ElementsAre(1, 2, 5, 10, 20));
}

TEST(Labels, NeverOverlap) {
  LabelPlacer placer({0, 0, 400, 300}, 12);
  placer.keep_clear({0, 300}, {400, 0});
  std::vector<Box> boxes;
  int placed = 0;
  for (int i = 0; i < 60; ++i) {
    const std::string text(static_cast<std::size_t>(3 + i % 9), 'x');
    const Point point{std::fmod(i * 73.0, 400), std::fmod(i * 41.0, 300)};
    const auto place = placer.place(point, 4, text);
    if (!place) continue;
    ++placed;
    const double width = text_width(text, 12);
    const double left = place->anchor == Anchor::kStart ? place->baseline.x
                        : place->anchor == Anchor::kEnd ? place->baseline.x - width
                                                        : place->baseline.x - width / 2;
    const Box box{left, place->baseline.y - 10, left + width, place->baseline.y + 2};
    for (const Box& other : boxes) EXPECT_FALSE(box.overlaps(other)) << i;
    EXPECT_TRUE(box.left >= 0 && box.right <= 400) << i;
    boxes.push_back(box);
  }
  EXPECT_GT(placed, 15);
}

TEST(Labels, SpreadKeepsOrderAndDistance) {
  const std::vector<double> heights(5, 20.0), places = spread({50, 50, 52, 10, 195}, heights, 0, 200);
  EXPECT_THAT(places, ElementsAre(50, 70, 90, 10, 190));
  const std::vector<double> bottom = spread({195, 196, 197}, {20, 20, 20}, 0, 200);
  EXPECT_THAT(bottom, ElementsAre(150, 170, 190));
}

TEST(Page, ShowsEveryRowAndItsCommand) {
  const Json json = recorded("llama-3.1-8b.json");
  const std::string page = page_of(json);
  EXPECT_EQ(nesting_error(page), "");
  EXPECT_EQ(count(page, "<tr><th scope=\"row\" data-key="), json["rows"].size());
  for (const Json& row : json["rows"]) EXPECT_THAT(page, HasSubstr(row["repro"].get<std::string>()));
  EXPECT_THAT(page, AllOf(HasSubstr(json["machine"]["cpu"].get<std::string>()),
                          HasSubstr(json["command"].get<std::string>()),
                          HasSubstr("commit " + json["commit"].get<std::string>())));
  for (const char* title : {"Roofline", "Share of the limit by routine", "Decode over batch size",
                            "Decode over page size", "Decode over KV layout", "Prefill over length"})
    EXPECT_THAT(page, HasSubstr(std::string("<title>") + title + "</title>"));
}

TEST(Page, NeedsNothingElse) {
  const std::string page =
      report_page({read_json(recorded("llama-3.1-8b.json")), read_json(recorded("azure-conv.json"))});
  EXPECT_THAT(page, AllOf(Not(HasSubstr("http")), Not(HasSubstr("src=")), Not(HasSubstr("@import")),
                          Not(HasSubstr("url("))));
  EXPECT_EQ(count(page, "href="), 1u) << "the empty icon";
}

TEST(Page, PicturesHoldEveryCaseAndSayWhatTheyShow) {
  const Json json = recorded("llama-3.1-8b.json");
  const std::string page = page_of(json);
  for (int width : {360, 560, 1000})
    for (const char* title : {"Roofline", "Share of the limit by routine"}) {
      const std::string svg = picture(page, title, width);
      EXPECT_EQ(count(svg, "class=\"mark "), json["rows"].size()) << title << width;
      EXPECT_THAT(svg, AllOf(HasSubstr("<desc>40 cases"), HasSubstr("role=\"img\"")));
    }
}

TEST(Page, PointsStandWhereTheirNumbersSay) {
  Json fast = row_json("rmsnorm", 1, 0.02), slow = row_json("rmsnorm", 10, 0.02);
  const std::string page = page_of(result_json({fast, slow}));
  const std::string svg = picture(page, "Share of the limit by routine", 1000);
  static const std::regex circle("class=\"mark k4\" d=\"M([0-9.]+) ");
  static const std::regex tick("class=\"tick\" x=\"([0-9.]+)\"[^>]*>([0-9]+)\u00a0%");
  std::vector<double> x, tick_x, tick_value;
  for (std::sregex_iterator i(svg.begin(), svg.end(), circle), end; i != end; ++i)
    x.push_back(std::stod((*i)[1]));
  for (std::sregex_iterator i(svg.begin(), svg.end(), tick), end; i != end; ++i)
    tick_x.push_back(std::stod((*i)[1])), tick_value.push_back(std::stod((*i)[2]));
  ASSERT_EQ(x.size(), 2u);
  ASSERT_GE(tick_x.size(), 2u);
  const double unit = (tick_x[1] - tick_x[0]) / (tick_value[1] - tick_value[0]);
  EXPECT_NEAR((x[0] - tick_x[0]) / unit, 50, 0.2) << "a floor of 0.5 ms over 1 ms";
  EXPECT_NEAR((x[1] - tick_x[0]) / unit, 5, 0.2);
}

TEST(Page, EscapesEveryText) {
  const std::string evil = "<script>alert('x')</script>\"&\x01";
  Json row = row_json(evil, 1, 0.02, "--x " + evil);
  row["refcheck"] = "fail", row["refcheck_message"] = evil, row["repro"] = evil, row["isa"] = evil;
  Json other = row_json("rmsnorm", 1, 0.02), json = result_json({row, other});
  for (const char* field : {"version", "commit", "command", "date"}) json[field] = evil;
  for (const char* field : {"cpu", "system"}) json["machine"][field] = evil;
  json["machine"]["isa_levels"] = {evil};
  Json service = recorded("azure-conv.json");
  service["machine"] = json["machine"];
  for (const char* field : {"workload", "refcheck", "repro"}) service["workload"][field] = evil;
  service["workload"]["refcheck_message"] = evil;
  service["workload"]["case"]["model"] = evil;
  const std::string page = report_page({read_json(json), read_json(service)});
  EXPECT_THAT(page, Not(HasSubstr("<script>alert")));
  EXPECT_THAT(page, Not(HasSubstr("\x01")));
  EXPECT_THAT(page, HasSubstr("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;&quot;&amp;\ufffd"));
  EXPECT_EQ(count(page, "<script>"), 1u);
  EXPECT_EQ(nesting_error(page), "");
}

TEST(Page, ShowsFailedAndSkippedChecks) {
  Json failed = row_json("rmsnorm", 1, 0.02), skipped = row_json("rope", 1, 0.02);
  failed["refcheck"] = "fail", failed["refcheck_message"] = "out[3, 4]: expected 1, got 2";
  skipped["refcheck"] = "skipped", skipped["max_abs_err"] = nullptr, skipped["max_rel_err"] = nullptr;
  const std::string page = page_of(result_json({failed, skipped}));
  EXPECT_THAT(
      page, AllOf(HasSubstr("check bad\">✗"), HasSubstr("check none\">–"), HasSubstr("out[3, 4]: expected 1"),
                  HasSubstr("<dd>0 <span>of 1</span>"), HasSubstr("1 were not checked")));
}

TEST(Page, ShowsCallsFarFromTheOthers) {
  Json calm = row_json("rmsnorm", 1, 0.02), disturbed = row_json("rope", 1, 0.02);
  disturbed["outliers"] = 2;
  const std::string page = page_of(result_json({calm, disturbed}));
  EXPECT_EQ(count(page, "30 on 4 copies of the inputs"), 2u);
  EXPECT_EQ(count(page, "of the inputs, 2 lie far from the others"), 1u);
}

TEST(Page, ShowsAWorkloadStepByStep) {
  const Json json = recorded("azure-conv.json");
  const std::string page = page_of(json);
  EXPECT_EQ(nesting_error(page), "");
  const std::string svg = picture(page, "Workload over its steps", 1000);
  EXPECT_EQ(count(svg, "class=\"mark "), json["workload"]["steps"].size());
  EXPECT_THAT(svg, AllOf(HasSubstr("time of a step, ms"), HasSubstr("requests in the batch"),
                         HasSubstr("pages in use")));
  EXPECT_THAT(page, Not(HasSubstr("All cases")));
}

TEST(Page, OneStepAndOneCaseAreEnough) {
  Json json = recorded("azure-conv.json");
  const Json step = json["workload"]["steps"][0];
  json["workload"]["steps"] = Json::array({step});
  for (const std::string& page : {page_of(json), page_of(result_json({row_json("single_prefill", 1, 0)}))})
    EXPECT_THAT(page, AllOf(Not(HasSubstr("nan")), Not(HasSubstr("inf ")), Not(HasSubstr("\"-nan"))));
}

TEST(Page, LinesJoinOnlyCasesThatAreAlike) {
  const auto decode = [](int batch, int kv_len, int page_size) {
    Json row = row_json("batch_decode_paged", 1, 0.02,
                        "--batch_size " + std::to_string(batch) + " --kv_len " + std::to_string(kv_len));
    row["case"] = {{"batch_size", batch}, {"kv_len", kv_len}, {"page_size", page_size}, {"kv_layout", "HND"}};
    return row;
  };
  const Results results(
      {read_json(result_json({decode(1, 1024, 16), decode(16, 1024, 16), decode(64, 4096, 16),
                              decode(64, 1024, 1), decode(4, 1024, 16)}))});
  const std::string figures = decode_figures(results);
  const std::string svg = picture(figures, "Decode over batch size", 560);
  EXPECT_EQ(count(svg, "class=\"mark "), 3u) << "kv_len 1024 with pages of 16";
  EXPECT_EQ(count(svg, "class=\"line "), 1u);
  EXPECT_THAT(svg, HasSubstr("40 at 1, 40 at 4, 40 at 16"));
  EXPECT_THAT(figures, Not(HasSubstr("Decode over page size"))) << "no two cases differ in it alone";
}

TEST(Page, TakesFilesOfOneMachineOnly) {
  const Json json = result_json({row_json("rmsnorm", 1, 0.02)});
  Json other = json, empty = result_json({});
  other["machine"]["cpu"] = "Other CPU";
  EXPECT_THAT(
      error_message([&] {
        report_page({read_json(json), read_json(other, "b.json")});
      }),
      AllOf(HasSubstr(
                "expected results of one machine, got a.json (Example CPU, 2 CPUs) and b.json (Other CPU"),
            HasSubstr("compare")));
  EXPECT_THAT(error_message([&] { page_of(empty); }), HasSubstr("a.json: no row and no workload to show"));
}

TEST(Page, TellsLevelsApartWhereThereAreSeveral) {
  Json other = row_json("rmsnorm", 2, 0.02);
  other["isa"] = "portable";
  const std::string page = page_of(result_json({row_json("rmsnorm", 1, 0.02), other}));
  EXPECT_THAT(page, AllOf(HasSubstr("rmsnorm, avx2"), HasSubstr("rmsnorm, portable"),
                          HasSubstr("FMA (portable, 2 threads)")));
  EXPECT_THAT(page_of(result_json({other})), Not(HasSubstr("rmsnorm, portable")));
}

TEST(Flags, AreReadInEveryForm) {
  EXPECT_EQ(flags_of("--num_tokens 7 --hidden=16 --gemma --eps -1"),
            (ResultValues{{"num_tokens", "7"}, {"hidden", "16"}, {"gemma", "true"}, {"eps", "-1"}}));
  EXPECT_TRUE(flags_of("").empty());
}

}  // namespace
}  // namespace strobe::bench::report
