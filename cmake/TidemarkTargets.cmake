# tidemark_library(NAME SRCS … DEPS …): a static library of this tree. Includes are from the root.
function(tidemark_library name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_library(${name} STATIC ${ARG_SRCS})
  target_include_directories(${name} PUBLIC ${CMAKE_SOURCE_DIR})
  target_link_libraries(${name} PUBLIC ${ARG_DEPS})
  target_compile_options(${name} PRIVATE ${TIDEMARK_WARNINGS})
endfunction()

# tidemark_binary(NAME SRCS … DEPS …)
function(tidemark_binary name)
  cmake_parse_arguments(ARG "" "" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SRCS})
  target_include_directories(${name} PRIVATE ${CMAKE_SOURCE_DIR})
  # OpenSSL first, needed or not: libparquet exports a libcrypto of its own.
  target_link_libraries(${name} PRIVATE tidemark_system_crypto ${ARG_DEPS})
  target_compile_options(${name} PRIVATE ${TIDEMARK_WARNINGS})
endfunction()

# tidemark_test(NAME SRCS … DEPS … [TIMEOUT seconds]): a GoogleTest program, one ctest entry. The label `long` keeps a
# test out of the CI tier.
function(tidemark_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SRCS;DEPS" ${ARGN})
  tidemark_binary(${name} SRCS ${ARG_SRCS} DEPS ${ARG_DEPS} GTest::gmock_main)
  tidemark_annotate_for_tsan(${name})
  add_test(NAME ${name} COMMAND ${name})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT})
endfunction()

set(TIDEMARK_WARNINGS -Wall -Wextra -Werror -Wno-unused-parameter)
