# The install component `python`: the folder strobe/ of the Python package, with library and command inside. The wheel is this
# component (pyproject.toml), and the tests of the package use it from the build folder.
install(DIRECTORY python/strobe DESTINATION . COMPONENT python EXCLUDE_FROM_ALL PATTERN __pycache__ EXCLUDE)
install(FILES $<TARGET_FILE:strobe> DESTINATION strobe/lib RENAME libstrobe.so COMPONENT python EXCLUDE_FROM_ALL)
install(PROGRAMS $<TARGET_FILE:strobe_cli> DESTINATION strobe/bin RENAME strobe COMPONENT python EXCLUDE_FROM_ALL)
if(SKBUILD)  # a wheel carries no symbol tables
  target_link_options(strobe PRIVATE -s)
  target_link_options(strobe_cli PRIVATE -s)
endif()
add_custom_target(strobe_python)  # what the component installs
add_dependencies(strobe_python strobe strobe_cli)
