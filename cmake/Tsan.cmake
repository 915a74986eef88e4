# The preset `tsan`. The system's libraries are not instrumented, so ThreadSanitizer sees neither what they write nor how they
# synchronise. For absl::Mutex that is mended: the tests' calls of it are wrapped by tests/support/tsan_abseil_mutex.cc. For gRPC it
# is not: the tests that link it, and those that drive the whole program, are left to the other presets. Of the rest
# `./dev tsan` builds and runs all; scripts/link_graph.py lists them.
option(TIDEMARK_TSAN "Annotate absl::Mutex for ThreadSanitizer in the tests" OFF)

function(tidemark_annotate_for_tsan target)
  if(NOT TIDEMARK_TSAN)
    return()
  endif()
  if(NOT TARGET tidemark_tsan_abseil_mutex)
    set(source ${CMAKE_SOURCE_DIR}/tests/support/tsan_abseil_mutex.cc)
    add_library(tidemark_tsan_abseil_mutex OBJECT ${source})
    target_link_libraries(tidemark_tsan_abseil_mutex PUBLIC absl::synchronization)
    file(STRINGS ${source} wrapped REGEX "^TM_WRAP")
    list(TRANSFORM wrapped REPLACE "^TM_WRAP\\([a-z]+, ([A-Za-z0-9_]+),.*" "LINKER:--wrap=\\1")
    target_link_options(tidemark_tsan_abseil_mutex INTERFACE ${wrapped})
  endif()
  target_sources(${target} PRIVATE $<TARGET_OBJECTS:tidemark_tsan_abseil_mutex>)
  target_link_libraries(${target} PRIVATE tidemark_tsan_abseil_mutex)
endfunction()
